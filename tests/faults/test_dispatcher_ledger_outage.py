"""Postgres goes away while a dispatcher and its worker are at it, and comes back: nothing is lost."""

from __future__ import annotations

import threading
from pathlib import Path

from psycopg import sql

from adit.ledger.ledger import Ledger
from tests.faults.transfer_folders import FolderTransfer, wait_for
from tests.postgres import DatabaseServer
from tests.samples import ct_study

INSTANCES = 6


def test_a_database_that_goes_away_is_waited_for(
    ledger: Ledger, ledger_url: str, worker_url: str, tmp_path: Path, database_server: DatabaseServer, database: str
) -> None:
    studies = tuple(ct_study(INSTANCES, seed=f"outage-{number}", size=128) for number in range(2))
    slow: dict[str, object] = {"tasks": 4, "associations": 8, "bytesPerSecond": "128Ki"}
    transfer = FolderTransfer(ledger, ledger_url, worker_url, tmp_path, studies, limits=slow)
    transfer.apply()
    with transfer.dispatcher_process() as dispatcher:
        wait_for(lambda: ledger.summary(transfer.job_id).stored > 0)
        name = sql.Identifier(database)
        database_server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
        database_server.execute(sql.SQL(end).format(sql.Literal(database)))
        assert not threading.Event().wait(2)
        assert dispatcher.poll() is None, "the dispatcher gave up"
        database_server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        assert dispatcher.wait(timeout=60) == 0
    transfer.is_complete()
