"""Launching and finding Jobs, against a real API server that refuses, hangs or forgets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from adit.dispatch.launcher import LaunchFailed
from adit.ledger.records import Claim
from adit.model.outcome import FaultCode
from adit_operator.job_manifest import job_name, manifest
from adit_operator.kubernetes_api import JOBS, KubernetesApi
from adit_operator.kubernetes_launcher import KubernetesLauncher
from adit_operator.worker_settings import PodSettings
from tests.cluster.api_server.launching import forbidding, owner
from tests.cluster.quota import limit
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import FaultyProxy, Reaction
from tests.unit.operator.claims import SETTINGS, claim, running

BUSY = Reaction(answer=429, headers={"Retry-After": "7"})


@dataclass
class Scene:
    """A launcher whose time is the test's, and the API server that it speaks to."""

    control_plane: ControlPlane
    proxy: FaultyProxy
    api: KubernetesApi
    namespace: str
    owner: dict[str, Any]
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
        given: dict[str, Any] = {**self.owner, "number": number, "token": uuid4()}
        return claim(**(given | {"attempt_id": int(uuid4()) % 10**9, "task_id": int(uuid4()) % 10**9} | values))

    def jobs(self) -> list[str]:
        return self.control_plane.kubectl("get", "jobs", "-n", self.namespace, "-o", "name").split()

    def refused(self, each: Claim) -> FaultCode | None:
        with pytest.raises(LaunchFailed) as failure:
            self.launcher.launch(each)
        return failure.value.fault.code if failure.value.fault else None


@pytest.fixture
def scene(control_plane: ControlPlane, proxy: FaultyProxy, proxied: KubernetesApi, namespace: str) -> Scene:
    return Scene(control_plane, proxy, proxied, namespace, owner(proxied, namespace))


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
