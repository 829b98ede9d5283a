"""Launching and finding Jobs, and taking resources in, against a real API server that refuses, hangs or forgets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from adit.dispatch.launcher import LaunchFailed
from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit.ledger.records import Applied, Claim, RunningAttempt
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob
from adit_operator.cluster_events import ClusterEvents
from adit_operator.intake import Intake
from adit_operator.job_manifest import job_name, manifest
from adit_operator.kubernetes_api import DICOM_NODES, JOBS, TRANSFER_JOBS, ApiRefused, Kind, KubernetesApi
from adit_operator.kubernetes_launcher import KubernetesLauncher
from adit_operator.kubernetes_login import login
from adit_operator.reach import readable
from adit_operator.status_writer import StatusWriter
from adit_operator.worker_settings import PodSettings
from tests.cluster.quota import limit
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.unit.model.specs import JOB, NODE
from tests.unit.operator.test_job_manifest import SETTINGS, claim

CRDS = Path(__file__).parents[2] / "crds"
FORBIDDEN = Reaction(answer=403, body=b'{"reason": "Forbidden"}')
NOT_ALLOWED = Reaction(answer=201, body=b'{"status": {"allowed": false}}')
BUSY = Reaction(answer=429, headers={"Retry-After": "7"})


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        plane.kubectl("apply", "-f", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield plane


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, control_plane.ca) as proxy:
        yield proxy


@dataclass
class Scene:
    """A launcher whose time is the test's, and the API server that it speaks to."""

    control_plane: ControlPlane
    proxy: FaultyProxy
    api: KubernetesApi
    namespace: str
    seconds: float = 0.0
    launcher: KubernetesLauncher = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Another operator, that knows nothing yet."""
        self.launcher = KubernetesLauncher(
            self.api, SETTINGS, [self.namespace], clock=lambda: datetime.now(UTC), monotonic=lambda: self.seconds
        )

    def claim(self, number: int = 1, **values: Any) -> Claim:
        given: dict[str, Any] = {"namespace": self.namespace, "number": number, "token": uuid4(), "job_id": uuid4()}
        return claim(**(given | {"attempt_id": int(uuid4()) % 10**9, "task_id": int(uuid4()) % 10**9} | values))

    def jobs(self) -> list[str]:
        return self.control_plane.kubectl("get", "jobs", "-n", self.namespace, "-o", "name").split()

    def refused(self, each: Claim) -> FaultCode | None:
        with pytest.raises(LaunchFailed) as failure:
            self.launcher.launch(each)
        return failure.value.fault.code if failure.value.fault else None


@pytest.fixture
def scene(control_plane: ControlPlane, proxy: FaultyProxy) -> Iterator[Scene]:
    namespace = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", namespace)
    environment = {"KUBECONFIG": str(control_plane.kubeconfig(server=proxy.url))}
    api = KubernetesApi(lambda: login(environment), read_seconds=10, wait=lambda seconds: None)
    yield Scene(control_plane, proxy, api, namespace)
    api.close()


def forbidding(what: str) -> Callable[[str, str], Reaction]:
    """As an API server does where a right is missing."""
    return lambda method, path: (
        FORBIDDEN if what in path else NOT_ALLOWED if "selfsubjectaccessreviews" in path else PASS
    )


def running(each: Claim, *, begun: bool = False) -> RunningAttempt:
    now = datetime.now(UTC)
    assigned = each.assignment
    return RunningAttempt(
        attempt_id=assigned.attempt_id,
        token=assigned.token,
        number=assigned.number,
        task_id=assigned.task_id,
        job_id=assigned.job_id,
        namespace=assigned.namespace,
        claimed_at=now,
        begun_at=now if begun else None,
        heartbeat_at=now if begun else None,
        reference=None,
        stop_requested_at=None,
        deadline=None,
        terminate=False,
    )


# --- launching ---


def test_a_claim_becomes_one_job_however_often_it_is_launched(scene: Scene) -> None:
    each = scene.claim()
    scene.launcher.launch(each)
    scene.launcher.launch(each)
    scene.renew()  # another operator, after a crash between commit and launch
    scene.launcher.launch(each)
    assert scene.jobs() == [f"job.batch/{job_name(each.assignment.task_id, 1)}"]
    assert scene.launcher.alive(running(each)) is True


def test_a_job_of_our_name_that_is_not_ours_is_no_launch(scene: Scene) -> None:
    each = scene.claim()
    other = replace(each, assignment=each.assignment.model_copy(update={"token": uuid4()}))
    scene.launcher.launch(other)
    assert scene.refused(each) is FaultCode.LAUNCH_REFUSED
    scene.launcher.kill(running(each))
    assert len(scene.jobs()) == 1
    assert scene.launcher.closed() == frozenset()  # it says nothing about the namespace


def test_too_many_requests_close_the_namespace_for_as_long_as_the_server_asks(scene: Scene) -> None:
    scene.proxy.react_once(BUSY)
    assert scene.refused(scene.claim()) is FaultCode.LAUNCH_REFUSED
    assert scene.launcher.closed() == {scene.namespace}
    before = len(scene.proxy.requests)
    assert scene.refused(scene.claim()) is FaultCode.LAUNCH_REFUSED
    assert len(scene.proxy.requests) == before  # nothing was sent
    scene.seconds += 7
    assert scene.launcher.closed() == frozenset()
    scene.launcher.launch(scene.claim())


def test_an_exhausted_quota_closes_the_namespace_longer_each_time_and_is_told_of_the_job(scene: Scene) -> None:
    limit(scene.control_plane.kubectl, scene.namespace, "count/jobs.batch", 0)
    each = scene.claim()
    closed_for = []
    for _ in range(6):
        assert scene.refused(each) is FaultCode.LAUNCH_REFUSED
        since = scene.seconds
        while scene.launcher.closed():
            scene.seconds += 1
        closed_for.append(scene.seconds - since)
    assert closed_for == [5, 10, 20, 40, 60, 60]
    trouble = scene.launcher.trouble(each.assignment.job_id)
    assert trouble is not None
    assert trouble.code is FaultCode.LAUNCH_REFUSED
    scene.control_plane.kubectl("delete", "quota", "few", "-n", scene.namespace)
    scene.launcher.launch(each)
    assert scene.launcher.trouble(each.assignment.job_id) is None


def test_a_missing_right_is_called_so(scene: Scene) -> None:
    scene.proxy.react = forbidding("/jobs")
    assert scene.refused(scene.claim()) is FaultCode.LAUNCH_FORBIDDEN


@pytest.mark.parametrize("happened", [True, False])
def test_a_launch_without_an_answer_is_found_or_given_up(scene: Scene, happened: bool) -> None:
    """The connection broke: nobody knows whether the Job was made, until somebody looks."""
    each = scene.claim()
    scene.proxy.react_once(Reaction(cut=True) if happened else Reaction(answer=503))
    scene.launcher.launch(each)
    assert len(scene.jobs()) == int(happened)
    attempt = running(each)
    assert scene.launcher.alive(attempt) is None
    scene.seconds += 5
    scene.launcher.alive(attempt)
    scene.seconds += 5
    assert scene.launcher.alive(attempt) is happened
    if not happened:
        epitaph = scene.launcher.epitaph(attempt)
        assert epitaph is not None
        assert epitaph.code is FaultCode.LOST


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(scene: Scene) -> None:
    attempts = [running(scene.claim(), begun=True) for _ in range(50)]
    for attempt in attempts:
        assert scene.launcher.alive(attempt) is None
    scene.seconds += 6
    scene.proxy.react = lambda method, path: Reaction(answer=500)
    before = len(scene.proxy.requests)
    assert {scene.launcher.alive(attempt) for attempt in attempts} == {None}
    assert len(scene.proxy.requests) == before + 1  # the first silence counts for all
    assert all(scene.launcher.epitaph(attempt) is None for attempt in attempts)


def test_a_refusal_is_no_longer_told_once_the_job_is_there(scene: Scene) -> None:
    """The server did not answer, and had done it."""
    each = scene.claim()
    scene.proxy.react_once(BUSY)
    scene.refused(each)
    assert scene.launcher.trouble(each.assignment.job_id) is not None
    scene.seconds += 10
    scene.proxy.react_once(Reaction(cut=True))
    scene.launcher.launch(each)
    job = scene.api.read(JOBS, scene.namespace, job_name(each.assignment.task_id, 1))
    assert job is not None
    scene.launcher.job_changed(job)
    assert scene.launcher.trouble(each.assignment.job_id) is None


def test_a_job_of_which_something_runs_is_not_in_trouble(scene: Scene) -> None:
    each = scene.claim()
    scene.proxy.react_once(BUSY)
    scene.refused(each)
    other = scene.claim(job_id=each.assignment.job_id)
    scene.launcher.reap([running(other, begun=True)])
    assert scene.launcher.trouble(each.assignment.job_id) is None
    scene.launcher.reap([])
    assert scene.launcher.trouble(each.assignment.job_id) is not None


# --- what became of it ---


def test_a_job_deleted_by_hand_is_missed_and_mourned(scene: Scene) -> None:
    each = scene.claim()
    scene.launcher.launch(each)
    job = scene.api.read(JOBS, scene.namespace, job_name(each.assignment.task_id, 1))
    assert job is not None
    scene.control_plane.kubectl("delete", "jobs", "--all", "-n", scene.namespace, "--wait=true")
    scene.launcher.job_deleted(job)
    attempt = running(each, begun=True)
    assert scene.launcher.alive(attempt) is None  # perhaps another operator is just making it
    scene.seconds += 5
    assert scene.launcher.alive(attempt) is False
    epitaph = scene.launcher.epitaph(attempt)
    assert epitaph is not None
    assert epitaph.code is FaultCode.WORKER_DELETED


def test_an_orphan_is_ended_once_two_lists_have_shown_it(scene: Scene) -> None:
    """The first list may have met a launch that the ledger was not asked about yet."""
    each = scene.claim()
    scene.launcher.launch(each)
    scene.launcher.reap(())
    assert len(scene.jobs()) == 1
    scene.seconds += 60
    scene.launcher.reap([running(each)])  # it was no orphan after all
    scene.seconds += 60
    scene.launcher.reap(())
    assert len(scene.jobs()) == 1
    scene.seconds += 60
    scene.launcher.reap(())
    assert scene.jobs() == []


def test_nobody_elses_job_is_ended(scene: Scene) -> None:
    body = manifest(scene.claim(), SETTINGS, datetime.now(UTC))
    body["metadata"]["labels"] = {"app": "mine"}
    scene.api.create(JOBS, scene.namespace, body)
    for _ in range(3):
        scene.seconds += 60
        scene.launcher.reap(())
    assert len(scene.jobs()) == 1


def test_a_refusal_is_told_while_it_is_news(scene: Scene) -> None:
    """A job that was refused once and waits for its window since is not in trouble for ever."""
    scene.proxy.react = forbidding("/jobs")
    refused = scene.claim()
    assert scene.refused(refused) is FaultCode.LAUNCH_FORBIDDEN
    job_id = refused.assignment.job_id
    scene.seconds += 600
    assert scene.launcher.trouble(job_id) is not None
    scene.seconds += 600
    assert scene.launcher.trouble(job_id) is None


def test_a_job_that_is_invalid_is_told_with_its_fields_and_without_their_values(scene: Scene) -> None:
    """What the chart cannot see: values that go wrong only together with the Job that we make."""
    volumes = [{"name": "spool", "emptyDir": {}}, {"name": "Not_A_Name", "emptyDir": {}}]
    scene.launcher = KubernetesLauncher(
        scene.api,
        SETTINGS.model_copy(update={"pod": PodSettings(volumes=volumes)}),
        [scene.namespace],
        clock=lambda: datetime.now(UTC),
        monotonic=lambda: scene.seconds,
    )
    with pytest.raises(LaunchFailed) as failure:
        scene.launcher.launch(scene.claim())
    fault = failure.value.fault
    assert fault is not None
    assert fault.code is FaultCode.LAUNCH_REFUSED
    assert re.search(r"spec\.template\.spec\.volumes\[\d\]\.name \(FieldValueDuplicate\)", fault.message)
    assert re.search(r"spec\.template\.spec\.volumes\[\d\]\.name \(FieldValueInvalid\)", fault.message)
    assert "Not_A_Name" not in fault.message
    assert "worker values" in fault.cure


def test_a_namespace_that_went_away_does_not_hold_up_the_others(scene: Scene) -> None:
    """Its RoleBinding went with it: all in it is forbidden."""
    scene.launcher = KubernetesLauncher(
        scene.api,
        SETTINGS,
        ["team-gone", scene.namespace],
        clock=lambda: datetime.now(UTC),
        monotonic=lambda: scene.seconds,
    )
    gone, here = scene.claim(namespace="team-gone"), scene.claim()
    scene.launcher.launch(here)
    scene.proxy.react = forbidding("team-gone")
    attempts = [running(gone), running(here)]
    for _ in range(3):
        scene.seconds += 61
        scene.launcher.reap(attempts)
    assert scene.launcher.alive(attempts[0]) is None  # nobody can tell: the lease decides
    assert scene.launcher.alive(attempts[1]) is True
    scene.seconds += 61
    scene.launcher.reap([])
    scene.seconds += 61
    scene.launcher.reap([])
    assert scene.jobs() == []  # an orphan by now, ended all the same


# --- taking in ---


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
