"""`adit migrate`: brings the ledger to this version's schema."""

from __future__ import annotations

import typer

from adit.cli.console import fail, out, say


def migrate(context: typer.Context) -> None:
    """Bring the ledger at ADIT_DATABASE_URL to this version's schema.

    Safe to repeat, and when two run at once. The database's user must be
    allowed to make the role adit_worker, or that role must exist. A Postgres
    that adit keeps in its data folder needs no migrate: it is up to date
    whenever it is opened.

    [bold]Example[/bold]

      ADIT_DATABASE_URL=postgresql://adit@db.example.org/adit adit migrate
    """
    from adit.cli.session import refused
    from adit.cli.settings import normal_url, settings_of
    from adit.ledger.connection import LedgerError, LedgerUnavailable
    from adit.ledger.migration import migrate as applied

    settings = settings_of(context)
    if settings.database_url is None:
        say.print("ADIT_DATABASE_URL is not set: the ledger in the data folder is migrated whenever it is opened.")
        return
    try:
        revisions = applied(normal_url(settings.database_url))
    except LedgerUnavailable as error:
        fail(f"The ledger cannot be migrated: {error}")
    except LedgerError as error:
        refused(error)
    for revision in revisions:
        out.print(f"applied {revision}")
    if not revisions:
        say.print("The ledger is up to date.")
