"""Attempts whose pods do not start: borne for a while, then given back with what kept them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from kubernetes.client.configuration import Configuration

from adit.ledger.records import RunningAttempt
from adit.model.outcome import FaultCode
from adit_operator.kubernetes_api import KubernetesApi, Object
from adit_operator.kubernetes_launcher import KubernetesLauncher
from tests.unit.operator.api_server import ApiServer, Asked
from tests.unit.operator.claims import NOW, SETTINGS, claim, running

LIMIT = SETTINGS.start_seconds
UNSCHEDULABLE: Object = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}


@dataclass
class Scene:
    """A launcher with one attempt launched, and the time, which is the test's."""

    server: ApiServer
    api: KubernetesApi
    seconds: float = 0.0
    launcher: KubernetesLauncher = field(init=False)

    def __post_init__(self) -> None:
        self.launcher = KubernetesLauncher(
            self.api,
            SETTINGS,
            None,
            clock=lambda: NOW + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
        )
        self.launcher.launch(claim())
        self.job = self.server.objects["jobs"][0]

    def add_pod(self, phase: str, **status: Any) -> None:
        """As the Job controller makes it, and tells in the Job's status."""
        owner = {"uid": self.job["metadata"]["uid"]}
        labels = self.job["spec"]["template"]["metadata"]["labels"]
        metadata = {"name": "a-pod", "uid": "a-pod", "labels": labels, "ownerReferences": [owner]}
        self.server.objects["pods"].append({"metadata": metadata, "status": {"phase": phase, **status}})
        self.job["status"] = {"active": 1}
        self.launcher.job_changed(self.job)

    def at(self, seconds: float, attempt: RunningAttempt) -> None:
        """The dispatcher's step at that age of the Job."""
        self.seconds = seconds
        self.launcher.reap([attempt])

    def deletions(self) -> list[Object]:
        return [each.body for each in self.server.asked if each.method == "DELETE"]

    def asked_for_pods(self) -> list[Asked]:
        """By the launcher's look at a whole namespace: what runs in it is not sent for nothing."""
        return [each for each in self.server.asked if each.plural == "pods"]

    def told(self) -> FaultCode | None:
        fault = self.launcher.trouble(claim().assignment.job_id)
        return fault.code if fault else None

    def bury(self, attempt: RunningAttempt) -> FaultCode | None:
        """Once it is given back: asked until the Job's absence is believed."""
        assert self.launcher.alive(attempt) is None
        self.seconds += 5
        assert self.launcher.alive(attempt) is False
        fault = self.launcher.epitaph(attempt)
        return fault.code if fault else None


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ApiServer(made_at=NOW.isoformat()) as server:
        api = KubernetesApi(lambda: Configuration(host=server.url))
        yield Scene(server, api)
        api.close()


def test_a_pod_without_room_is_told_of_soon_and_borne_until_the_limit(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    scene.at(14, running(claim()))
    assert scene.told() is None
    scene.at(20, running(claim()))
    assert scene.told() is FaultCode.UNSCHEDULABLE
    scene.at(LIMIT - 1, running(claim()))
    assert {each.query["fieldSelector"] for each in scene.asked_for_pods()} == {"status.phase=Pending"}
    assert scene.deletions() == []
    assert scene.launcher.alive(running(claim())) is True
    assert scene.launcher.epitaph(running(claim())) is None


def test_after_the_limit_it_is_given_back_with_its_pod_and_the_reason(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    scene.at(LIMIT, running(claim()))
    uid = scene.job["metadata"]["uid"]
    (options,) = scene.deletions()
    assert (options["propagationPolicy"], options["preconditions"]) == ("Background", {"uid": uid})
    assert scene.server.objects["jobs"] == scene.server.objects["pods"] == []
    scene.launcher.job_deleted(scene.job)
    assert scene.bury(running(claim())) is FaultCode.UNSCHEDULABLE


def test_it_is_given_back_though_no_event_tells_that_the_job_is_gone(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    scene.at(LIMIT, running(claim()))
    assert scene.bury(running(claim())) is FaultCode.UNSCHEDULABLE
    assert len(scene.deletions()) == 1


def test_a_pod_that_still_ends_is_waited_for(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    pods = list(scene.server.objects["pods"])
    scene.at(LIMIT, running(claim()))
    scene.server.objects["pods"] = pods
    scene.launcher.job_deleted(scene.job)
    assert scene.launcher.alive(running(claim())) is None
    scene.seconds += 5
    assert scene.launcher.alive(running(claim())) is None
    scene.server.objects["pods"] = []
    scene.seconds += 5
    assert scene.launcher.alive(running(claim())) is False


def test_a_worker_that_began_at_the_last_moment_was_deleted_and_not_without_room(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    scene.at(LIMIT, running(claim()))
    scene.launcher.job_deleted(scene.job)
    assert scene.bury(running(claim(), begun=True)) is FaultCode.WORKER_DELETED


def test_what_has_begun_is_not_looked_at_whatever_an_old_picture_shows(scene: Scene) -> None:
    scene.add_pod("Pending", **UNSCHEDULABLE)
    scene.at(LIMIT, running(claim(), begun=True))
    assert scene.deletions() == []


@pytest.mark.parametrize("begun", [True, False])
def test_what_runs_is_never_given_back(scene: Scene, begun: bool) -> None:
    scene.add_pod("Running")
    scene.at(10 * LIMIT, running(claim(), begun=begun))
    assert scene.deletions() == []
    assert scene.told() is None


def test_a_pod_that_only_takes_its_time_is_left_to_the_lease(scene: Scene) -> None:
    scene.add_pod("Pending")
    scene.at(10 * LIMIT, running(claim()))
    assert scene.deletions() == []


def test_what_keeps_pods_away_is_told_all_the_while_until_one_begins(scene: Scene) -> None:
    """As under a LimitRange: each attempt is given back, and the next one's Job is young for a while."""
    scene.at(20, running(claim()))
    assert scene.told() is FaultCode.POD_REFUSED
    scene.at(95, running(claim()))
    assert len(scene.deletions()) == 1
    scene.launcher.reap([])
    assert scene.told() is FaultCode.POD_REFUSED
    scene.server.made_at = (NOW + timedelta(seconds=120)).isoformat()
    scene.launcher.launch(claim())
    scene.at(125, running(claim()))
    assert scene.told() is FaultCode.POD_REFUSED
    scene.at(200, running(claim(), begun=True))
    assert scene.told() is None
    scene.at(205, running(claim()))
    scene.launcher.reap([])
    assert scene.told() is FaultCode.POD_REFUSED
    scene.at(205 + 901, running(claim(), begun=True))
    scene.launcher.reap([])
    assert scene.told() is None


def test_a_job_without_a_pod_is_told_of_soon_and_given_back_after_ninety_seconds(scene: Scene) -> None:
    scene.at(14, running(claim()))
    assert scene.told() is None
    scene.at(20, running(claim()))
    assert scene.told() is FaultCode.POD_REFUSED
    scene.at(84, running(claim()))
    scene.at(89.5, running(claim()))
    assert scene.deletions() == []
    assert scene.launcher.alive(running(claim())) is True
    scene.at(95, running(claim()))
    (options,) = scene.deletions()
    assert options["propagationPolicy"] == "Background"
    scene.launcher.job_deleted(scene.job)
    assert scene.bury(running(claim())) is FaultCode.POD_REFUSED
