"""How the ledger reaches Postgres: one engine, one kind of transaction, two errors: a lost database, a defect.

Used by every module of this room; callers outside only see `engine`, `LedgerUnavailable` and `LedgerError`.
Neither error shows what the driver said: its text may hold a row, and so a patient or an attempt's token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adit.ledger import postgres_session
from adit.ledger.postgres_session import LedgerError, LedgerUnavailable

__all__ = ["LedgerError", "LedgerUnavailable", "engine", "is_lost", "transaction"]

_SCHEME = re.compile(r"^postgres(ql)?://")  # libpq's words: the driver is ours to choose
_WHOLE = {"no_parameters": True}  # so that several statements may go in one round trip


def engine(url: str, *, connections: int = 5) -> Engine:
    """A pool of at most `connections`, for `transaction`, which says BEGIN and COMMIT itself.

    No server-side prepared statements and no session state: works behind PgBouncer in transaction mode.
    """
    return create_engine(
        _SCHEME.sub("postgresql+psycopg://", url),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        pool_timeout=30,
        connect_args=dict(postgres_session.CONNECT),
    )


@contextmanager
def transaction(source: Engine, *, token: UUID | None = None) -> Iterator[Connection]:
    """One transaction, committed when the block ends well.

    `token` is an attempt's: the restricted role sees and writes only what belongs to it. Raises
    LedgerUnavailable when the database is lost on the way, LedgerError when it refuses a statement.
    """
    try:
        with _begun(source, token) as connection:
            yield connection
            connection.exec_driver_sql("COMMIT", execution_options=_WHOLE)
    except PoolTimeout as error:
        raise LedgerUnavailable("no database connection became free within 30 s") from error
    except StatementError as error:
        if not (isinstance(error, DBAPIError) and is_lost(error)):
            raise LedgerError(error.orig or error) from None
        raise postgres_session.unavailable(error.orig) from None


def _begun(source: Engine, token: UUID | None) -> Connection:
    """A connection in a transaction, rolled back when it is closed before the commit.

    One round trip begins it and finds a connection that a restarted server has dropped: nothing was done then, and
    another one is taken. With the driver's own BEGIN and a ping before it there would be three.
    """
    begin = "BEGIN; " + postgres_session.BEGIN.format(token=f"'{token or ''}'")
    for tries_left in (1, 0):
        connection = source.connect()
        try:
            connection.exec_driver_sql(begin, execution_options=_WHOLE)
        except DBAPIError as error:
            connection.close()
            if not error.connection_invalidated or not tries_left:
                raise
        else:
            return connection
    raise AssertionError("the last try returns or raises")


def is_lost(error: DBAPIError) -> bool:
    """Whether the same statement may well succeed later: the connection, the server or its resources failed."""
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        return True
    if state is None:
        return isinstance(error, OperationalError)  # libpq could not even talk
    return postgres_session.is_passing(str(state))
