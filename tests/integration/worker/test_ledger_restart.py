"""The ledger's server dies in the middle of a transfer: the worker waits for it, and nothing is lost or sent twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.ledger.connection import engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate
from adit.model.instance import InstanceState
from adit.model.outcome import EXIT_CODES, FaultCode, Outcome
from tests.integration.transfer.scene import Scene, dimse, scene_of
from tests.integration.worker.test_worker import Gate
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import ct_study

STUDY = ct_study(12, size=64)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "data", fsync=False) as server:
        migrate(server.url)
        yield server


@pytest.fixture
def own_scene(server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Scene]:
    source = engine(server.url)
    with scene_of(Ledger(source), server.worker_url, tmp_path) as scene:
        yield scene
    source.dispose()


def crash(server: EmbeddedPostgres) -> None:
    """An immediate shutdown: no checkpoint, connections cut; the next start recovers."""
    pid = int((server.data / "cluster" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not (server.data / "cluster" / "postmaster.pid").exists(), "the server is down")


def test_restarted_in_the_middle(server: EmbeddedPostgres, own_scene: Scene) -> None:
    gate = Gate("C-GET sub-operation", 5)
    with (
        ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(before=gate)) as source,
        ScriptedSCP(aet="DESTINATION") as destination,
    ):
        task = own_scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        worker = task.start()
        assert gate.reached.wait(90)
        crash(server)
        gate.opened.set()
        wait_until(lambda: len(destination.holds) == 12, "everything is stored while the ledger is away")
        server.revive()
        assert worker.wait() == EXIT_CODES[Outcome.SUCCESS]
        assert set(task.states().values()) == {InstanceState.VERIFIED}
        assert destination.stores() == Counter(STUDY.sop_instance_uids)


def test_away_for_longer_than_the_lease(server: EmbeddedPostgres, own_scene: Scene) -> None:
    own_scene.lease = 3
    gate = Gate("C-GET sub-operation", 5)
    with (
        ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(before=gate)) as source,
        ScriptedSCP(aet="DESTINATION") as destination,
    ):
        task = own_scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        worker = task.start()
        assert gate.reached.wait(90)
        crash(server)
        assert worker.wait() == EXIT_CODES[Outcome.TRANSIENT_FAULT]
        gate.opened.set()
        assert "Interrupted" in worker.log.read_text()
        server.revive()
        [running] = own_scene.ledger.running()
        assert running.attempt_id == worker.assignment.attempt_id
        own_scene.lease = 30
        task.lost(worker.assignment)
        report = task.run()
        assert report.outcome is Outcome.SUCCESS
        assert FaultCode.LOST not in [fault.code for fault in report.faults]
        assert max(destination.stores().values()) <= 2
