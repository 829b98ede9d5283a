"""Taking resources in from a real API server, whose lists fail, come late or show but a part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit.ledger.records import Applied
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob
from adit_operator.cluster_events import ClusterEvents
from adit_operator.intake import Intake
from adit_operator.kubernetes_api import DICOM_NODES, TRANSFER_JOBS, ApiRefused, Kind, KubernetesApi
from adit_operator.reach import readable
from adit_operator.status_writer import StatusWriter
from tests.cluster.api_server.launching import forbidding
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.unit.model.specs import JOB, NODE


@dataclass
class Scene:
    """The API server, as it is seen through a proxy that may lie."""

    proxy: FaultyProxy
    api: KubernetesApi
    namespace: str


@pytest.fixture
def scene(proxy: FaultyProxy, proxied: KubernetesApi, namespace: str) -> Scene:
    return Scene(proxy, proxied, namespace)


@pytest.fixture
def intake(scene: Scene, ledger: Ledger) -> Intake:
    writer = StatusWriter(ledger, scene.api, ClusterEvents(scene.api, "operator-1"))
    return Intake(ledger, writer, clock=lambda: datetime.now(UTC))


def create(scene: Scene, kind: Any, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": "adit.dev/v1alpha1", "kind": kind.name, "metadata": {"name": name}, "spec": spec}
    return scene.api.create(kind, scene.namespace, body)


def create_all(scene: Scene) -> dict[str, Any]:
    for name in ("pacs", "research"):
        create(scene, DICOM_NODES, name, NODE)
    return create(scene, TRANSFER_JOBS, "ct", JOB)


def test_a_sweep_takes_in_what_no_event_told_of_and_lets_go_what_is_gone(
    scene: Scene, intake: Intake, ledger: Ledger
) -> None:
    job = create_all(scene)
    intake.sweep(scene.api, [scene.namespace])
    assert list(ledger.live_jobs()) == [UUID(job["metadata"]["uid"])]
    assert len(ledger.nodes()) == 2
    scene.api.delete(TRANSFER_JOBS, scene.namespace, "ct")
    scene.api.delete(DICOM_NODES, scene.namespace, "pacs")
    intake.sweep(scene.api, [scene.namespace])
    assert ledger.live_jobs() == {}
    assert [node.metadata.name for node in ledger.nodes()] == ["research"]
    gone = ledger.job_by_id(UUID(job["metadata"]["uid"]))
    assert gone is not None
    assert gone.deleted_at is not None


@pytest.mark.parametrize("reaction", [Reaction(answer=500), Reaction(cut=True), Reaction(answer=200, body=b"{}")])
def test_a_list_that_fails_lets_nothing_go(scene: Scene, intake: Intake, ledger: Ledger, reaction: Reaction) -> None:
    create_all(scene)
    intake.sweep(scene.api, [scene.namespace])
    scene.proxy.react = lambda method, path: reaction if "transferjobs" in path else PASS
    with pytest.raises(ApiRefused):
        intake.sweep(scene.api, [scene.namespace])
    assert len(ledger.live_jobs()) == 1
    assert len(ledger.nodes()) == 2


def test_one_of_several_namespaces_that_is_forbidden_is_left_alone(
    scene: Scene, intake: Intake, ledger: Ledger
) -> None:
    create_all(scene)
    both = ["team-gone", scene.namespace]
    intake.sweep(scene.api, readable(scene.api, [scene.namespace]))
    (job_id,) = ledger.live_jobs()
    scene.proxy.react = forbidding(scene.namespace)
    assert readable(scene.api, both) == ("team-gone",)
    intake.sweep(scene.api, readable(scene.api, both))
    assert list(ledger.live_jobs()) == [job_id]  # whoever may not look cannot say that it is gone
    with pytest.raises(ApiRefused):
        readable(scene.api, [scene.namespace])
    scene.proxy.react = lambda method, path: Reaction(answer=500) if "team-gone" in path else PASS
    with pytest.raises(ApiRefused):
        readable(scene.api, both)  # an API server that cannot tell is waited for


def test_other_namespaces_jobs_are_not_ours_to_let_go(scene: Scene, intake: Intake, ledger: Ledger) -> None:
    create_all(scene)
    intake.sweep(scene.api, [scene.namespace])
    intake.sweep(scene.api, ["default"])
    assert len(ledger.live_jobs()) == 1


def test_an_event_and_its_echo_change_the_ledger_once(scene: Scene, ledger: Ledger) -> None:
    job = create_all(scene)
    changes: list[None] = []
    writer = StatusWriter(ledger, scene.api, ClusterEvents(scene.api, "operator-1"))
    intake = Intake(ledger, writer, clock=lambda: datetime.now(UTC), on_change=lambda: changes.append(None))
    for _ in range(3):
        intake.take(TRANSFER_JOBS, job)
    assert len(changes) == 1
    intake.gone(TRANSFER_JOBS, job)
    assert ledger.live_jobs() == {}
    intake.take(TRANSFER_JOBS, job)  # late news
    assert ledger.live_jobs() == {}


@pytest.mark.parametrize("anew", [False, True])
def test_what_went_away_while_the_list_was_read_does_not_come_back(
    scene: Scene, intake: Intake, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    """A job that the ledger never saw; the one made anew under its name keeps it."""
    create_all(scene)
    successor: list[UUID] = []

    read = scene.api.list

    def read_late(kind: Kind, namespace: str | None) -> list[Any]:
        listed = [*read(kind, namespace)]
        if kind == TRANSFER_JOBS:
            meanwhile(listed[0])
        return listed

    def meanwhile(old: Any) -> None:
        scene.api.delete(TRANSFER_JOBS, scene.namespace, "ct")
        if not anew:
            intake.gone(TRANSFER_JOBS, old)
            return
        new = create(scene, TRANSFER_JOBS, "ct", JOB)
        intake.take(TRANSFER_JOBS, new)
        successor.append(UUID(new["metadata"]["uid"]))

    with monkeypatch.context() as patched:
        patched.setattr(scene.api, "list", read_late)
        intake.sweep(scene.api, [scene.namespace])
    assert list(ledger.live_jobs()) == successor
    intake.sweep(scene.api, [scene.namespace])
    assert list(ledger.live_jobs()) == successor


def test_an_older_generation_that_a_list_brings_late_changes_nothing(
    scene: Scene, intake: Intake, ledger: Ledger
) -> None:
    job = create_all(scene)
    newer = job | {"metadata": job["metadata"] | {"generation": 2}, "spec": job["spec"] | {"suspend": True}}
    intake.take(TRANSFER_JOBS, newer)
    intake.take(TRANSFER_JOBS, job)
    record = ledger.job((scene.namespace, "ct"))
    assert record is not None
    assert record.job.spec.suspend is True


def test_a_job_that_the_ledger_lost_is_taken_in_again(
    scene: Scene, intake: Intake, ledger: Ledger, ledger_url: str
) -> None:
    """As after a restore of an older back-up: events will not come again, the sweep does."""
    create_all(scene)
    intake.sweep(scene.api, [scene.namespace])
    source = engine(ledger_url)
    with source.begin() as connection:
        connection.execute(text("TRUNCATE job, node CASCADE"))
    source.dispose()
    intake.sweep(scene.api, [scene.namespace])
    assert len(ledger.live_jobs()) == 1
    assert len(ledger.nodes()) == 2
    (job_id,) = ledger.live_jobs()
    assert ledger.summary(job_id).tasks.get(TaskState.PENDING, 0) == 0


class _Attentive(Ledger):
    """Remembers which jobs were given to it."""

    applied: list[str]

    def apply_job(self, job: TransferJob, now: datetime, *, refusal: Fault | None = None) -> Applied:
        self.applied.append(job.metadata.name)
        return super().apply_job(job, now, refusal=refusal)


def test_an_operator_that_starts_takes_in_no_job_that_has_ended_for_both_sides(
    scene: Scene, ledger: Ledger, ledger_url: str
) -> None:
    """A thousand of them would hold it up. One that only the cluster calls ended is taken in all the same."""
    create_all(scene)
    open_job = create(scene, TRANSFER_JOBS, "open", JOB)
    source = engine(ledger_url)
    attentive = _Attentive(source)

    def sweep() -> list[str]:
        """As another operator, that knows nothing yet."""
        attentive.applied = []
        writer = StatusWriter(attentive, scene.api, ClusterEvents(scene.api, "operator-1"))
        Intake(attentive, writer, clock=lambda: datetime.now(UTC)).sweep(scene.api, [scene.namespace])
        writer.write_due(datetime.now(UTC))
        return sorted(attentive.applied)

    assert sweep() == ["ct", "open"]
    (ended,) = ledger.live_jobs().keys() - {UUID(open_job["metadata"]["uid"])}
    assert ledger.refuse(ended, Fault(code=FaultCode.NODE_NOT_FOUND, message="no such node"), datetime.now(UTC))
    assert sweep() == ["ct", "open"]  # the cluster does not know it yet
    assert sweep() == ["open"]
    with source.begin() as connection:
        connection.execute(text("UPDATE job SET ended_at = NULL WHERE id = :id"), {"id": ended})
    assert sweep() == ["ct", "open"]
    source.dispose()
