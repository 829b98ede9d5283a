"""The ledger as a command uses it: a server that the settings name, or a Postgres of our own.

Opened by every command that needs the ledger, for as long as the command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from adit.cli.console import ExitCode, fail, say
from adit.cli.settings import Settings, normal_url
from adit.ledger.connection import LedgerError, LedgerUnavailable, engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate, pending
from adit.ledger.postgres_binaries import EmbeddedPostgresError
from adit.model.counted import counted


@dataclass(frozen=True, slots=True)
class Session:
    ledger: Ledger
    url: str  # of the ledger's owner, with our driver
    worker_url: str  # for workers: a role that may only write about its own attempt
    receiver_url: str  # for the receiver: a role that may only find a mailbox
    settings: Settings
    revive: Callable[[], None]  # for whoever waits for the ledger: starts our own server again if it died


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """The ledger, brought to this version's schema if it is our own.

    Ends the command, with the cure, when the ledger cannot be reached, is of another version, or refuses us.
    """
    with ExitStack() as stack:
        try:
            urls, revive = _urls(settings, stack)
        except EmbeddedPostgresError as error:
            fail(f"The ledger cannot be used: {error}")
        except LedgerUnavailable as error:
            fail(
                f"The ledger cannot be used: {error}. Check that its server runs, and the host, port, name and "
                "password in ADIT_DATABASE_URL."
            )
        except LedgerError as error:
            refused(error)
        source = engine(urls.owner)
        stack.callback(source.dispose)
        try:
            yield Session(Ledger(source), urls.owner, urls.worker, urls.receiver, settings, revive)
        except LedgerUnavailable as error:
            fail(f"The ledger went away: {error}. Nothing that it had acknowledged is lost.", ExitCode.NOT_GREEN)
        except LedgerError as error:
            refused(error)


def refused(error: LedgerError) -> NoReturn:
    """Ends the command: the database answered, and said no."""
    fail(
        f"The ledger refused a statement: {error}. Check that ADIT_DATABASE_URL names a role that owns the "
        "ledger, and that nothing else changed its tables; else report this as a defect of ADIT.",
        ExitCode.NOT_GREEN,
    )


@dataclass(frozen=True, slots=True)
class _Urls:
    owner: str
    worker: str
    receiver: str


def _urls(settings: Settings, stack: ExitStack) -> tuple[_Urls, Callable[[], None]]:
    if settings.database_url is None:
        server = stack.enter_context(EmbeddedPostgres(settings.postgres))
        migrate(server.url)
        return _Urls(server.url, server.worker_url, server.receiver_url), partial(_revive, server)
    url = normal_url(settings.database_url)
    missing = pending(url)
    if missing:
        fail(f"The ledger lacks {counted(len(missing), 'migration')} of this version. Run `adit migrate` first.")
    worker = normal_url(settings.worker_database_url or settings.database_url)
    receiver = normal_url(settings.receiver_database_url or settings.database_url)
    return _Urls(url, worker, receiver), lambda: None  # not ours to start


def _revive(server: EmbeddedPostgres) -> None:
    try:
        server.revive()
    except EmbeddedPostgresError as error:
        say.print(f"The ledger cannot be started again: {error}. It is tried again.", markup=False)
