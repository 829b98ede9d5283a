"""Workers that had to go, of which only the watch can say why: its news is waited for, and not for ever."""

from __future__ import annotations

import pytest

from adit.model.outcome import FaultCode
from adit_operator.kubernetes_api import Object
from tests.unit.operator.claims import claim, running
from tests.unit.operator.test_unbegun_attempts import Scene, scene

__all__ = ["scene"]
DISRUPTED: Object = {
    "conditions": [
        {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy"},
        {"type": "Failed", "status": "True", "reason": "PodFailurePolicy"},
    ]
}


def preempted() -> Object:
    labels = {"adit.dev/attempt": str(claim().assignment.attempt_id)}
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    return {"metadata": {"name": "a-pod", "labels": labels}, "status": {"phase": "Failed", "conditions": [condition]}}


@pytest.fixture
def failed(scene: Scene) -> Scene:
    """Its pod is gone, and its Job says that it had to go."""
    scene.job["status"] = DISRUPTED
    scene.launcher.job_changed(scene.job)
    return scene


def test_the_watch_says_why_a_moment_later(failed: Scene) -> None:
    attempt = running(claim(), begun=True)
    assert failed.launcher.alive(attempt) is None
    failed.launcher.pod_failed(preempted())
    assert failed.launcher.alive(attempt) is False
    epitaph = failed.launcher.epitaph(attempt)
    assert epitaph is not None
    assert epitaph.code is FaultCode.PREEMPTED


def test_without_its_news_the_job_has_the_last_word(failed: Scene) -> None:
    """The watch, or the whole operator, was away meanwhile."""
    attempt = running(claim(), begun=True)
    failed.seconds = 2
    assert failed.launcher.alive(attempt) is None
    failed.seconds = 3
    assert failed.launcher.alive(attempt) is False
    epitaph = failed.launcher.epitaph(attempt)
    assert epitaph is not None
    assert epitaph.code is FaultCode.EVICTED


def test_a_job_that_has_finished_is_not_deleted_by_a_kill(failed: Scene) -> None:
    failed.launcher.kill(running(claim(), begun=True))
    assert failed.deletions() == []
    assert failed.server.objects["jobs"] == [failed.job]
