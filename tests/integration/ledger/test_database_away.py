"""The database goes away between two writes, or in the middle of one: nothing is lost, and callers can tell."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate
from adit.ledger.records import Grant
from adit.model.assignment import Progress, Share
from adit.model.state import TaskState
from tests.integration.ledger.scene import LEASE, NOW, SUCCESS, Scene, after, report, row, transfer_job
from tests.peers.server_process import wait_until
from tests.postgres import fast_place


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    with (
        tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as folder,
        EmbeddedPostgres(Path(folder) / "data", fsync=False) as server,
    ):
        migrate(server.url)
        yield server


def kill(server: EmbeddedPostgres) -> None:
    """The postmaster, and with it, a moment later, all who serve a connection."""
    postmaster = (server.data / "cluster" / "postmaster.pid").read_text().splitlines()[0]
    family = [postmaster, *Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
    os.kill(int(postmaster), signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "nobody serves a connection")


def test_a_server_restarted_between_two_writes_goes_unnoticed(own_server: EmbeddedPostgres) -> None:
    source = engine(own_server.url)
    scene = Scene(Ledger(source), own_server.worker_url)
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    kill(own_server)
    own_server.revive()
    assert not worker.write([row("1")], Progress(verified=1), [], after(1)).stop
    worker.finish(report(), after(2))
    kill(own_server)
    own_server.revive()
    assert scene.ledger.settle(assignment.attempt_id, SUCCESS, after(3))
    assert next(scene.ledger.tasks(job.id)).state is TaskState.SUCCESS
    worker.close()
    source.dispose()


def test_while_it_is_away_all_say_so_and_later_go_on(own_server: EmbeddedPostgres) -> None:
    source = engine(own_server.url)
    scene = Scene(Ledger(source), own_server.worker_url)
    assignment = scene.claim(scene.apply().id)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    kill(own_server)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="unavailable"):
            worker.write([row("1")], Progress(), [], NOW)
        with pytest.raises(LedgerUnavailable, match="unavailable"):
            scene.ledger.running()
    own_server.revive()
    worker.write([row("1")], Progress(), [], after(5))
    assert scene.ledger.running()[0].heartbeat_at == after(5)
    worker.close()
    source.dispose()


def test_a_connection_lost_inside_an_admission_claims_nothing(scene: Scene, ledger_url: str) -> None:
    job = scene.apply(transfer_job())
    other = engine(ledger_url, connections=1)
    with pytest.raises(LedgerUnavailable), scene.ledger.admission(NOW) as admission:  # noqa: PT012 - commit raises
        assert len(admission.claim([Grant(job.id, Share(), Share())], LEASE)) == 1
        with transaction(other) as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))
    other.dispose()
    assert scene.ledger.running() == []
    assert len(scene.claim(job.id)) == 1
