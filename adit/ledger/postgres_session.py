"""How Postgres is spoken to, whichever library does: settings of connections and transactions, and two errors.

Shared by `connection` (SQLAlchemy, the dispatcher's side) and `worker_connection` (psycopg alone: a worker starts
in half the time without SQLAlchemy). The errors are a database that is away, and a defect. Neither shows what the
driver said: its text may hold a row, and so a patient or an attempt's token.
"""

from __future__ import annotations

from typing import Final

_RETRIABLE_SQLSTATES: Final = ("08", "40", "53", "55P03", "57", "25006")


class LedgerUnavailable(Exception):  # noqa: N818 - a condition of the database, not a mistake
    """The database cannot be reached, went away, or is too busy: nothing was promised, try again later.

    A transaction whose commit was not acknowledged may have happened; every write of the ledger may
    be repeated.
    """

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class LedgerError(Exception):
    """The database refused a statement that it should have taken: a defect, or a schema that someone changed.

    Tells the driver's exception by its type, the SQLSTATE (PostgreSQL, Appendix A), and the names of table
    and constraint; never a value.
    """

    def __init__(self, error: BaseException) -> None:
        diagnosis = getattr(error, "diag", None)
        self.sqlstate: str | None = getattr(error, "sqlstate", None)
        self.table: str | None = getattr(diagnosis, "table_name", None)
        self.constraint: str | None = getattr(diagnosis, "constraint_name", None)
        facts = {"SQLSTATE": self.sqlstate, "table": self.table, "constraint": self.constraint}
        told = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        super().__init__(f"{type(error).__name__}{f' ({told})' if told else ''}")


def is_passing(sqlstate: str) -> bool:
    """Whether the same statement may well succeed later: the connection, the server or its resources failed."""
    return sqlstate.startswith(_RETRIABLE_SQLSTATES)


def unavailable(error: BaseException | None) -> LedgerUnavailable:
    """For a driver's error that is passing; tells its first line, which holds no row."""
    first_line = next(iter(str(error).splitlines()), type(error).__name__)
    return LedgerUnavailable(f"the database is unavailable: {first_line}", getattr(error, "sqlstate", None))


CONNECT: Final[dict[str, str | int | None]] = {
    "application_name": "adit",
    "connect_timeout": 10,
    "prepare_threshold": None,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How psycopg connects, on either side: without server-side prepared statements, and soon aware of a dead peer."""

BEGIN: Final = (
    "SELECT set_config('statement_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true),"
    " set_config('timezone', 'UTC', true),"
    " set_config('adit.token', {token}, true)"
)
"""One round trip at the start of each transaction, with a placeholder for an attempt's token.

All are local to it (SET LOCAL), so that they hold behind PgBouncer in transaction mode and never leak to the
next user of the connection. A caller that hangs inside a transaction loses it, and with it the admission lock,
after the idle timeout."""
