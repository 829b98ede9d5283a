"""`adit migrate`: brings the ledger to this version's schema, and the workers' and receivers' logins with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adit.cli.console import ExitCode, fail, out, say

if TYPE_CHECKING:
    from adit.cli.settings import Settings

_PAUSE_SECONDS: Final = 0.5


def migrate(
    context: typer.Context,
    wait: Annotated[float, typer.Option(help="Try for so many seconds while the database does not answer.", min=0)] = 0,
) -> None:
    """Bring the ledger at ADIT_DATABASE_URL to this version's schema.

    Safe to repeat, and when two run at once. The database's user must be
    allowed to make the roles adit_worker and adit_receiver, or they must
    exist. A Postgres that adit keeps in its data folder needs no migrate: it
    is up to date whenever it is opened.

    If ADIT_WORKER_DATABASE_URL is set, the login that it names is made too,
    gets the password that it holds, and becomes a member of adit_worker. So
    is the one of ADIT_RECEIVER_DATABASE_URL, as a member of adit_receiver.

    [bold]Example[/bold]

      ADIT_DATABASE_URL=postgresql://adit@db.example.org/adit adit migrate
    """
    from adit.cli.session import refused
    from adit.cli.settings import settings_of
    from adit.ledger.connection import LedgerError, LedgerUnavailable
    from adit.ledger.migration import SchemaTooNew
    from adit.ledger.worker_login import WorkerLoginRefused

    settings = settings_of(context)
    if settings.database_url is None:
        say.print("ADIT_DATABASE_URL is not set: the ledger in the data folder is migrated whenever it is opened.")
        return
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            _migrate(settings)
        except LedgerUnavailable as error:
            if time.monotonic() >= deadline:
                fail(f"The ledger cannot be migrated: {error}")
            if not told:
                say.print(f"Waiting for the ledger, {wait:g} s at most: {error}", markup=False)
                told = True
            time.sleep(_PAUSE_SECONDS)
        except SchemaTooNew as error:
            fail(f"The ledger cannot be migrated: {error}")
        except WorkerLoginRefused as error:
            fail(str(error), ExitCode.NOT_GREEN)
        except LedgerError as error:
            refused(error)
        else:
            return


def _migrate(settings: Settings) -> None:
    from adit.cli.settings import normal_url
    from adit.ledger.migration import migrate as applied
    from adit.ledger.worker_login import RECEIVERS, WORKERS, Change, ensure_worker_login

    url = normal_url(settings.database_url or "")
    revisions = applied(url)
    for revision in revisions:
        out.print(f"applied {revision}")
    if not revisions:
        say.print("The ledger is up to date.")
    logins = {WORKERS: settings.worker_database_url, RECEIVERS: settings.receiver_database_url}
    for kind, login_url in logins.items():
        if login_url:
            change = ensure_worker_login(url, normal_url(login_url), kind)
            if change is not Change.NONE:
                out.print(f"{kind.whose} login {change}")
