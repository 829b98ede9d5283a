"""How the ledger reaches Postgres: one engine, one kind of transaction, two errors: a lost database, a defect.

Used by every module of this room; callers outside only see `engine`, `LedgerUnavailable` and `LedgerError`.
Neither error shows what the driver said: its text may hold a row, and so a patient or an attempt's token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# One round trip at the start of each transaction. All are local to it (SET LOCAL), so that they hold
# behind PgBouncer in transaction mode and never leak to the next user of the connection. A caller
# that hangs inside a transaction loses it, and with it the admission lock, after the idle timeout.
_BEGIN = text(
    "SELECT set_config('statement_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true),"
    " set_config('timezone', 'UTC', true),"
    " set_config('adit.token', :token, true)"
)
_RETRIABLE_SQLSTATES = ("08", "40", "53", "55P03", "57", "25006")


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

    def __init__(self, error: StatementError) -> None:
        original = error.orig
        diagnosis = getattr(original, "diag", None)
        self.sqlstate: str | None = getattr(original, "sqlstate", None)
        self.table: str | None = getattr(diagnosis, "table_name", None)
        self.constraint: str | None = getattr(diagnosis, "constraint_name", None)
        facts = {"SQLSTATE": self.sqlstate, "table": self.table, "constraint": self.constraint}
        told = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        super().__init__(f"{type(original or error).__name__}{f' ({told})' if told else ''}")


def engine(url: str, *, connections: int = 5) -> Engine:
    """A pool of at most `connections`, each checked before use, so that a restarted server goes unnoticed.

    No server-side prepared statements and no session state: works behind PgBouncer in transaction mode.
    """
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=30,
        connect_args={
            "application_name": "adit",
            "connect_timeout": 10,
            "prepare_threshold": None,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


@contextmanager
def transaction(source: Engine, *, token: UUID | None = None) -> Iterator[Connection]:
    """One transaction, committed when the block ends well.

    `token` is an attempt's: the restricted role sees and writes only what belongs to it. Raises
    LedgerUnavailable when the database is lost on the way, LedgerError when it refuses a statement.
    """
    try:
        with source.begin() as connection:
            connection.execute(_BEGIN, {"token": "" if token is None else str(token)})
            yield connection
    except PoolTimeout as error:
        raise LedgerUnavailable("no database connection became free within 30 s") from error
    except StatementError as error:
        if not (isinstance(error, DBAPIError) and is_lost(error)):
            raise LedgerError(error) from None
        state = getattr(error.orig, "sqlstate", None)
        raise LedgerUnavailable(f"the database is unavailable: {_first_line(error)}", state) from None


def is_lost(error: DBAPIError) -> bool:
    """Whether the same statement may well succeed later: the connection, the server or its resources failed."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        return True
    if state is None:
        return isinstance(error, OperationalError)  # libpq could not even talk
    return str(state).startswith(_RETRIABLE_SQLSTATES)


def _first_line(error: DBAPIError) -> str:
    return next(iter(str(error.orig).splitlines()), type(error.orig).__name__)
