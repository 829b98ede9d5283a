"""A worker's, or a receiver's, one connection to Postgres, by psycopg alone.

Used by `attempt_ledger` and `mailbox_directory`.

The counterpart of `connection` for a process that runs a dozen statements in its life: SQLAlchemy would take
longer to import than those take to run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg

from adit.ledger import postgres_session
from adit.ledger.postgres_session import LedgerError, LedgerUnavailable

Row: TypeAlias = tuple[Any, ...]
_BEGIN: Final = postgres_session.BEGIN.format(token="%(token)s")  # noqa: S106 - a placeholder's name
_PATIENCE: Final = 30.0
"""Seconds that one thread waits for another's transaction to end."""


class WorkerConnection:
    """Made when it is first used, and again when it is lost; threads take turns."""

    def __init__(self, url: str, token: UUID | None) -> None:
        self._conninfo = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._token = str(token or "")
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[Row] | None = None

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Row]]:
        """One transaction in the attempt's name, committed when the block ends well.

        Raises LedgerUnavailable when the database is lost on the way, LedgerError when it refuses a statement.
        """
        if not self._turn.acquire(timeout=_PATIENCE):
            raise LedgerUnavailable(f"no database connection became free within {_PATIENCE:g} s")
        try:
            connection = self._begun()
            yield connection
            connection.commit()
        except psycopg.Error as error:
            lost = self._is_lost(error)
            self._roll_back()
            if not lost:
                raise LedgerError(error) from None
            raise postgres_session.unavailable(error) from None
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._turn.release()

    def close(self) -> None:
        """Gives the connection back. May be called twice; it is made anew when it is used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begun(self) -> psycopg.Connection[Row]:
        """Connected, and inside a transaction. A server that was restarted meanwhile goes unnoticed."""
        if self._connection is not None:
            try:
                self._connection.execute(_BEGIN, {"token": self._token})
                return self._connection
            except psycopg.Error:
                if not self._connection.closed:
                    raise
                self.close()
        self._connection = psycopg.connect(self._conninfo, **postgres_session.CONNECT)  # type: ignore[arg-type]
        self._connection.execute(_BEGIN, {"token": self._token})
        return self._connection

    def _is_lost(self, error: psycopg.Error) -> bool:
        """Whether the same statement may well succeed later."""
        if self._connection is not None and self._connection.closed:
            return True
        if error.sqlstate is None:
            return isinstance(error, psycopg.OperationalError)  # libpq could not even talk
        return postgres_session.is_passing(error.sqlstate)

    def _roll_back(self) -> None:
        if self._connection is None:
            return
        with suppress(psycopg.Error):
            self._connection.rollback()
        if self._connection.closed:
            self.close()
