"""Events: one for each turn, the same name for the same turn, nothing of a patient."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings

from adit_operator.cluster_events import KEPT, ClusterEvents, Regarding, event, turns
from adit_operator.job_status import JobView, job_status
from adit_operator.kubernetes_api import TRANSFER_JOBS, KubernetesApi, Refusal
from tests.unit.operator.cluster import CountingApi
from tests.unit.operator.views import NOW, STAGES, views

JOB = Regarding(TRANSFER_JOBS, "default", "stroke-ct", "00000000-0000-0000-0000-000000000007")


def status_at(stage: str, previous: dict[str, Any] | None = None, seconds: float = 0) -> dict[str, Any]:
    status = job_status(STAGES[stage], previous, NOW + timedelta(seconds=seconds))
    assert status is not None
    return status


def told(*stages: str) -> list[str]:
    """What is told while a job goes through these stages."""
    reasons: list[str] = []
    previous = None
    for number, stage in enumerate(stages):
        status = status_at(stage, previous, number)
        reasons += [turn.reason for turn in turns(previous, status)]
        previous = status
    return reasons


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["waits for its turn", "runs", "complete"], ["Expanded", "Completed"]),
        (["being expanded", "runs", "complete"], ["Accepted", "Expanded", "Completed"]),
        (["waits for its node", "waits for its node too long", "runs"], ["NotAccepted", "Expanded"]),
        (["refused"], ["Refused"]),
        (["waits for its node", "refused"], ["NotAccepted", "Refused"]),
        (["invalid", "runs"], ["NotAccepted", "Expanded"]),
        (["waits for its turn", "suspended", "runs"], ["Expanded", "Suspended", "Resumed"]),
        (["runs", "suspended", "complete"], ["Expanded", "Suspended", "Completed"]),
        (["runs", "being cancelled", "cancelled"], ["Expanded", "Canceling", "Cancelled"]),
        (["runs", "cannot start", "runs", "failed"], ["Expanded", "Stalled", "GoingOn", "Failed"]),
        (["runs", "change not taken", "runs"], ["Expanded", "NotAccepted", "Accepted"]),
        (["runs", "warned"], ["Expanded", "EndedWithWarnings"]),
        (["complete"], ["Expanded", "Completed"]),
        (["runs", "runs", "runs"], ["Expanded"]),
    ],
)
def test_what_is_told(stages: list[str], expected: list[str]) -> None:
    if stages == ["runs", "change not taken", "runs"]:
        expected = ["Expanded", "NotAccepted"]  # the job went on all the while
    assert told(*stages) == expected


def test_a_failure_is_told_with_its_codes() -> None:
    (turn,) = [turn for turn in turns(status_at("runs"), status_at("failed")) if turn.reason == "Failed"]
    assert turn.warning
    assert turn.note.startswith("1 of 4 tasks failed: NodeTimeout (1).")


def test_a_turn_has_one_name_whoever_tells_it_and_when() -> None:
    for stage in STAGES:
        first = [event(JOB, turn, "operator-0", NOW) for turn in turns(None, status_at(stage))]
        again = [event(JOB, turn, "operator-1", NOW + timedelta(hours=1)) for turn in turns(None, status_at(stage))]
        assert [each["metadata"]["name"] for each in first] == [each["metadata"]["name"] for each in again]
        assert len({each["metadata"]["name"] for each in first}) == len(first)


def test_another_job_of_the_same_name_has_other_events() -> None:
    other = Regarding(TRANSFER_JOBS, "default", "stroke-ct", "00000000-0000-0000-0000-000000000008")
    (turn,) = turns(None, status_at("refused"))
    assert event(JOB, turn, "o", NOW)["metadata"]["name"] != event(other, turn, "o", NOW)["metadata"]["name"]


@given(views(), views())
@settings(max_examples=100, deadline=None)
def test_events_are_what_the_api_server_takes(before: JobView, after: JobView) -> None:
    first = job_status(before, None, NOW)
    second = job_status(after, first, NOW)
    if second is None:
        return
    for turn in turns(first, second):
        body = event(JOB, turn, "operator-0", NOW)
        assert len(body["note"].encode()) <= 1024
        assert len(body["metadata"]["name"]) <= 253
        assert body["eventTime"] == "2026-03-02T12:00:00.123456Z"
        assert body["metadata"]["namespace"] == body["regarding"]["namespace"]
        assert 0 < len(body["reason"]) <= 128
        assert 0 < len(body["action"]) <= 128
        assert "1.2.840.113619" not in json.dumps(body)


def post(api: CountingApi, seconds: float, events: ClusterEvents) -> None:
    events.post_due(NOW + timedelta(seconds=seconds))


def test_events_wait_for_the_api_server_and_are_told_once() -> None:
    api = CountingApi(refusal=Refusal.UNAVAILABLE)
    events = ClusterEvents(cast(KubernetesApi, api), "operator-0")
    events.tell(JOB, None, status_at("complete"), NOW)
    for seconds in range(4):
        post(api, seconds, events)
    assert api.tried == 1
    api.refusal = None
    events.tell(JOB, None, status_at("complete"), NOW)  # another operator's
    post(api, 6, events)
    assert api.told() == ["Expanded", "Completed"]


@pytest.mark.parametrize("refusal", [Refusal.FORBIDDEN, Refusal.NOT_ADMITTED, Refusal.NOT_FOUND, Refusal.INVALID])
def test_events_that_are_not_wanted_are_dropped(refusal: Refusal) -> None:
    api = CountingApi(refusal=refusal)
    events = ClusterEvents(cast(KubernetesApi, api), "operator-0")
    events.tell(JOB, None, status_at("complete"), NOW)
    post(api, 0, events)
    assert api.tried == 2
    post(api, 10, events)
    assert api.tried == 2


def test_so_many_events_wait_and_no_more() -> None:
    api = CountingApi(refusal=Refusal.UNAVAILABLE)
    events = ClusterEvents(cast(KubernetesApi, api), "operator-0")
    for number in range(KEPT):
        other = Regarding(TRANSFER_JOBS, "default", f"job-{number}", str(number))
        events.tell(other, None, status_at("complete"), NOW)
    api.refusal = None
    for seconds in range(0, 120, 5):
        post(api, seconds, events)
    assert len(api.events) == KEPT
