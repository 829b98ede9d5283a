"""A lost database is one error, whatever the driver calls it; a mistake in a query is not."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.connection import LedgerUnavailable, engine, is_lost, transaction
from adit.model.assignment import Progress

NOWHERE = "postgresql+psycopg://adit@127.0.0.1:1/adit"


def test_no_server_is_unavailable() -> None:
    source = engine(NOWHERE)
    with pytest.raises(LedgerUnavailable, match="unavailable"), transaction(source) as connection:
        connection.execute(text("SELECT 1"))
    source.dispose()


def test_the_worker_is_told_the_same() -> None:
    worker = AttemptLedger(NOWHERE, 1, uuid4())
    with pytest.raises(LedgerUnavailable):
        worker.write([], Progress(), [], datetime.now(UTC))
    worker.close()


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (psycopg.OperationalError, True),
        (psycopg.errors.AdminShutdown, True),
        (psycopg.errors.TooManyConnections, True),
        (psycopg.errors.DiskFull, True),
        (psycopg.errors.DeadlockDetected, True),
        (psycopg.errors.QueryCanceled, True),
        (psycopg.errors.ReadOnlySqlTransaction, True),
        (psycopg.errors.UniqueViolation, False),
        (psycopg.errors.CheckViolation, False),
        (psycopg.errors.UndefinedTable, False),
        (psycopg.errors.InsufficientPrivilege, False),
        (psycopg.errors.InvalidPassword, False),
    ],
)
def test_by_its_sqlstate_an_error_is_a_lost_database_or_a_mistake(error: type[psycopg.Error], lost: bool) -> None:
    wrapped = DBAPIError.instance("SELECT 1", {}, error("no"), psycopg.Error, connection_invalidated=False)
    assert isinstance(wrapped, DBAPIError)
    assert is_lost(wrapped) is lost
