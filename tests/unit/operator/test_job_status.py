"""A TransferJob's status: what each stage shows, and what no status may ever be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adit.ledger.records import FaultCount, JobSummary
from adit.model.condition import JOB_CONDITIONS, WHILE_TRUE, ConditionReason, ConditionType
from adit.model.outcome import Fault, FaultCode
from adit.model.state import JobState, TaskState
from adit_operator.conditions import condition, holds
from adit_operator.job_status import PATIENCE, JobView, job_status
from tests.unit.operator.status_schema import check
from tests.unit.operator.views import INVALID, MISSING, NOW, PREVIOUS, STAGES, summary, view, views

REASONS = {str(each) for each in (*ConditionReason, *FaultCode)}
SECRETS = ("DOE^JANE", "1003", "1.2.840.113619", "Wilhelm")


def status_of(told: JobView, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    status = job_status(told, previous, NOW)
    assert status is not None
    check("TransferJob", status)
    return status


def true_in(status: dict[str, Any]) -> set[str]:
    return {each["type"] for each in status["conditions"] if each["status"] == "True"}


@given(views(), PREVIOUS)
@settings(max_examples=300, deadline=None)
def test_whatever_the_ledger_says_the_status_is_sound(told: JobView, previous: dict[str, Any] | None) -> None:
    status = job_status(told, previous, NOW)
    if status is None:
        assert told.summary is None
        assert told.problem is None
        return
    check("TransferJob", status)
    types = [each["type"] for each in status["conditions"]]
    assert types[: len(JOB_CONDITIONS)] == list(JOB_CONDITIONS)
    assert all(each in WHILE_TRUE for each in types[len(JOB_CONDITIONS) :])
    true = true_in(status)
    assert all(each["reason"] in REASONS for each in status["conditions"])
    assert len(true & {"Complete", "Failed"}) <= 1
    assert len(true & {"Reconciling", "Stalled"}) <= 1
    assert types.count("Reconciling") + types.count("Stalled") == len(true & {"Reconciling", "Stalled"})
    assert ("completionTime" in status) == bool(true & {"Complete", "Failed"})
    assert ("Failed" in true) <= ("Stalled" in true)
    if "Complete" in true:
        assert told.summary is not None
        counts, instances = status["counts"], status["instances"]
        assert counts["succeeded"] == counts["total"]
        assert instances["verified"] == instances["expected"]
        assert status["state"] == "Success"
    else:
        assert status.get("state") != "Success"


@given(views())
@settings(max_examples=100, deadline=None)
def test_a_status_made_again_is_the_same_and_keeps_its_times(told: JobView) -> None:
    first = job_status(told, None, NOW)
    if first is None:
        return
    later = NOW + timedelta(seconds=1)
    again = job_status(told, first, later)
    assert again is not None
    for before, after in zip(first["conditions"], again["conditions"], strict=False):
        if (before["type"], before["status"]) == (after["type"], after["status"]):
            assert after["lastTransitionTime"] == before["lastTransitionTime"]


@pytest.mark.parametrize(
    ("stage", "state", "reason", "true"),
    [
        ("waits for its node", "Pending", "NodeNotFound", {"Reconciling"}),
        ("waits for its node too long", "Pending", "NodeNotFound", {"Stalled"}),
        ("refused", "Failure", "NodeNotFound", {"Failed", "Stalled"}),
        ("invalid", None, "Invalid", {"Stalled"}),
        ("being expanded", "Pending", "MakingTasks", {"Accepted", "Reconciling"}),
        ("waits for its turn", "Pending", "Waiting", {"Accepted", "Expanded"}),
        ("runs", "InProgress", "Running", {"Accepted", "Expanded"}),
        ("all ended, not closed", "InProgress", "Running", {"Accepted", "Expanded"}),
        ("suspended", "Pending", "Suspended", {"Accepted", "Expanded", "Suspended"}),
        ("suspended, could not start", "Pending", "Suspended", {"Accepted", "Expanded", "Suspended"}),
        ("being cancelled", "Canceling", "Canceling", {"Accepted", "Expanded"}),
        ("cannot start", "Pending", "LaunchRefused", {"Accepted", "Expanded", "Stalled"}),
        ("change not taken", "InProgress", "Running", {"Expanded", "Stalled"}),
        ("complete", "Success", "AllProven", {"Accepted", "Expanded", "Complete"}),
        ("nothing to do", "Success", "NothingToTransfer", {"Accepted", "Expanded", "Complete"}),
        ("warned", "Warning", "EndedWithWarnings", {"Accepted", "Expanded", "Failed", "Stalled"}),
        ("failed", "Failure", "TasksFailed", {"Accepted", "Expanded", "Failed", "Stalled"}),
        ("cancelled", "Canceled", "Cancelled", {"Accepted", "Expanded", "Failed", "Stalled"}),
        ("partly cancelled", "Canceled", "Cancelled", {"Accepted", "Expanded", "Failed", "Stalled"}),
    ],
)
def test_what_each_stage_shows(stage: str, state: str | None, reason: str, true: set[str]) -> None:
    status = status_of(STAGES[stage])
    assert status.get("state") == state
    assert condition(status, ConditionType.COMPLETE)["reason"] == reason
    assert condition(status, ConditionType.FAILED)["reason"] == reason
    assert true_in(status) == true


def test_every_stage_is_tried() -> None:
    marks = [mark for mark in test_what_each_stage_shows.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(STAGES)


def test_a_warning_is_not_complete_as_adit_run_would_not_exit_with_0() -> None:
    status = status_of(STAGES["warned"])
    assert not holds(status, ConditionType.COMPLETE)
    assert condition(status, ConditionType.FAILED)["message"].startswith("1 of 4 tasks ended with warnings")


@pytest.mark.parametrize(
    "told",
    [
        summary({TaskState.SUCCESS: 4}, ended=True, instances=(8, 7)),
        summary({TaskState.PENDING: 1}, ended=True, state=JobState.SUCCESS),
        summary({TaskState.SUCCESS: 3, TaskState.IN_PROGRESS: 1}, ended=True, instances=(8, 8), state=JobState.SUCCESS),
    ],
)
def test_success_without_proof_is_no_success(told: JobSummary) -> None:
    """The ledger's constraints forbid it; should they ever fail, the status does not join in."""
    status = status_of(view(told))
    assert true_in(status) == {"Accepted", "Expanded", "Failed", "Stalled"}
    assert condition(status, ConditionType.FAILED)["reason"] == "NotProven"


@pytest.mark.parametrize(
    ("tasks", "instances", "told"),
    [
        ({TaskState.SUCCESS: 1}, (1, 1), "1 task, 1 instance: it is proven to have arrived."),
        ({TaskState.SUCCESS: 1}, (2, 2), "1 task, 2 instances: all are proven to have arrived."),
        ({TaskState.SUCCESS: 2}, (2, 2), "2 tasks, 2 instances: all are proven to have arrived."),
        ({TaskState.SUCCESS: 1}, (1, 0), "0 of 1 instance proven to have arrived."),
        ({TaskState.SUCCESS: 1}, (3, 1), "1 of 3 instances proven to have arrived."),
    ],
)
def test_one_of_something_is_told_as_one(tasks: dict[TaskState, int], instances: tuple[int, int], told: str) -> None:
    status = status_of(view(summary(tasks, ended=True, instances=instances)))
    assert told in [each["message"] for each in status["conditions"]]


def test_a_job_that_waits_says_for_what_and_the_cure() -> None:
    accepted = condition(status_of(STAGES["waits for its node"]), ConditionType.ACCEPTED)
    assert accepted["reason"] == "NodeNotFound"
    assert accepted["message"] == f"{MISSING.message} {MISSING.cure}"


def test_waiting_stalls_only_after_some_patience() -> None:
    told = summary(expanded=False, age=PATIENCE - timedelta(seconds=1))
    assert "Reconciling" in true_in(status_of(view(told, waiting=MISSING)))
    told = summary(expanded=False, age=PATIENCE)
    assert "Stalled" in true_in(status_of(view(told, waiting=MISSING)))


def test_an_invalid_change_leaves_the_job_as_it_was() -> None:
    told = view(summary({TaskState.IN_PROGRESS: 1}), generation=2, problem=INVALID)
    accepted = condition(status_of(told), ConditionType.ACCEPTED)
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert accepted["message"].endswith("The job goes on as it was before this change.")


def test_the_generation_is_the_one_that_the_ledger_has() -> None:
    status = status_of(view(summary({TaskState.PENDING: 1}, generation=3), generation=4))
    assert status["observedGeneration"] == 3
    assert {each["observedGeneration"] for each in status["conditions"]} == {3}


def test_times_change_with_the_status_only() -> None:
    first = status_of(STAGES["runs"])
    done = job_status(STAGES["complete"], first, NOW + timedelta(hours=1))
    assert done is not None
    times = {each["type"]: each["lastTransitionTime"] for each in done["conditions"]}
    assert times["Expanded"] == "2026-03-02T12:00:00Z"
    assert times["Complete"] == "2026-03-02T13:00:00Z"


def test_nobody_knows_the_job_yet() -> None:
    assert job_status(view(None), None, NOW) is None


def test_counts_and_rates() -> None:
    told = summary(
        {TaskState.SUCCESS: 8123, TaskState.PENDING: 1877}, stored_bytes=10**9, started=timedelta(seconds=100)
    )
    running = status_of(view(told, bytes_per_second=77))
    assert running["progress"] == "8123/10000"
    assert running["bytesPerSecond"] == 77
    assert running["startTime"] == "2026-03-02T11:58:20Z"
    told = summary(
        {TaskState.SUCCESS: 1}, ended=True, instances=(1, 1), stored_bytes=10**9, started=timedelta(seconds=100)
    )
    ended = status_of(view(told, bytes_per_second=77))
    assert ended["bytesPerSecond"] == 10**7
    assert ended["completionTime"] == "2026-03-02T12:00:00Z"


def test_what_a_profile_left_out_is_counted_by_itself() -> None:
    told = replace(summary({TaskState.SUCCESS: 1}, ended=True, instances=(3, 3)), left_out=2)
    status = status_of(view(told))
    assert (status["instances"]["expected"], status["instances"]["leftOut"]) == (3, 2)
    assert holds(status, ConditionType.COMPLETE)
    assert condition(status, ConditionType.COMPLETE)["message"].endswith("2 more were left out, as the profile says.")


def test_failures_are_told_in_our_words() -> None:
    failures = (
        FaultCount("NodeTimeout", 3, "NodeTimeout: Wilhelm did not answer [instance 1.2.840.113619.2.5]"),
        FaultCount("StudyNotFound", 2, "StudyNotFound: DOE^JANE"),
        FaultCount("DOE^JANE 1003", 2, "x"),
    )
    told = summary({TaskState.FAILURE: 7}, ended=True, failures=failures)
    status = status_of(view(told))
    assert [(each["code"], each["count"]) for each in status["failures"]] == [
        ("NodeTimeout", 3),
        ("StudyNotFound", 2),
        ("Unexpected", 2),
    ]
    assert status["failures"][0]["meaning"] == "The peer did not answer in time."
    assert "7 of 7 tasks failed: NodeTimeout (3), StudyNotFound (2), Unexpected (2)" in json.dumps(status)
    assert not any(secret in json.dumps(status) for secret in SECRETS)


def test_a_uid_in_a_fault_of_ours_is_not_shown() -> None:
    fault = Fault(code=FaultCode.LAUNCH_REFUSED, message="pod\n1.2.840.113619.2.5 on 10.0.0.1", cure="")
    stalled = condition(status_of(view(summary({TaskState.PENDING: 1}), trouble=fault)), ConditionType.STALLED)
    assert stalled["message"] == "pod [UID] on 10.0.0.1"


@given(st.lists(st.sampled_from([state for state in TaskState if state.ended]), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_life_goes_forward_only(ends: list[TaskState]) -> None:
    """Tasks start and end one after the other; the job is closed a moment after its last task."""
    told = [summary({}, expanded=False), summary({TaskState.PENDING: len(ends)})]
    for done in range(len(ends)):
        counts = Counter(ends[:done])
        waiting = len(ends) - done - 1
        told.append(
            summary({**counts, TaskState.IN_PROGRESS: 1, TaskState.PENDING: waiting}, instances=(done + 1, done))
        )
    told.append(summary(dict(Counter(ends)), instances=(len(ends), len(ends))))
    told.append(summary(dict(Counter(ends)), instances=(len(ends), len(ends)), ended=True))
    previous: dict[str, Any] | None = None
    ended = -1
    for number, each in enumerate(told):
        status = job_status(view(each), previous, NOW + timedelta(seconds=number))
        assert status is not None
        check("TransferJob", status)
        for kind in ("Accepted", "Expanded"):
            assert (kind in true_in(previous or {"conditions": []})) <= (kind in true_in(status))
        now_ended = int(status["progress"].split("/")[0])
        assert now_ended >= ended
        assert bool(true_in(status) & {"Complete", "Failed"}) == (number == len(told) - 1)
        previous, ended = status, now_ended
    assert previous is not None
    assert holds(previous, ConditionType.COMPLETE) == (set(ends) == {TaskState.SUCCESS})
