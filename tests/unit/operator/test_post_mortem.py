"""What Job and Pod tell of an attempt that left no report."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adit.model.outcome import FaultCode, Outcome
from adit_operator import post_mortem


def condition(kind: str, reason: str = "", status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason}


def pod(
    phase: str = "Failed", *conditions: dict[str, Any], reason: str | None = None, **state: dict[str, Any]
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": list(conditions)}
    if reason:
        status["reason"] = reason
    if state:
        status["containerStatuses"] = [{"name": "worker", "state": state}]
    return {"metadata": {}, "status": status}


def job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"metadata": {}, "status": {"conditions": list(conditions), **status}}


FAILED = job(condition("Failed", "BackoffLimitExceeded"), failed=1)


def exited(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (pod(terminated=exited(137, "OOMKilled")), FaultCode.OUT_OF_MEMORY),
        (pod(terminated=exited(137)), FaultCode.LOST),
        (pod(terminated=exited(139)), FaultCode.LOST),
        (pod(terminated=exited(64)), FaultCode.CONTRACT_MISMATCH),
        (pod(terminated=exited(128, "StartError")), FaultCode.START_FAILED),
        (pod(terminated=exited(143)), FaultCode.LOST),
        (pod("Succeeded", terminated=exited(0, "Completed")), FaultCode.LOST),
        (pod("Failed", reason="Evicted"), FaultCode.OUT_OF_DISK),
        (pod("Failed", condition("DisruptionTarget", "TerminationByKubelet"), reason="Evicted"), FaultCode.EVICTED),
        (pod("Failed", condition("DisruptionTarget", "PreemptionByScheduler")), FaultCode.PREEMPTED),
        (pod("Failed", condition("DisruptionTarget", "DeletionByTaintManager")), FaultCode.MACHINE_LOST),
        (pod("Failed", condition("DisruptionTarget", "EvictionByEvictionAPI")), FaultCode.EVICTED),
        (pod("Failed", condition("DisruptionTarget", "SomethingNew")), FaultCode.EVICTED),
        (pod("Failed", reason="DeadlineExceeded"), FaultCode.LOST),
        (pod("Failed", reason="NodeLost"), FaultCode.MACHINE_LOST),
        (pod(), FaultCode.LOST),
    ],
)
def test_a_pod_says_why_it_ended(given: dict[str, Any], code: FaultCode) -> None:
    assert post_mortem.why_ended(FAILED, [given], begun=True, overdue=False).code is code


def spoke(code: int, **word: Any) -> dict[str, Any]:
    return pod(terminated={**exited(code), "message": json.dumps({"v": 1, "attempt": 7, **word}) + "\n"})


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (spoke(64, ended="fenced"), FaultCode.CONTRACT_MISMATCH, ""),
        (spoke(75, ended="ledger-unavailable"), FaultCode.LOST, "could not reach the database"),
        (
            spoke(75, ended="report-not-written", outcome="Success", faults=["NodeTimeout", "DOE^JANE", 7, ["x"]]),
            FaultCode.LOST,
            "The worker's report could not be written. It had met NodeTimeout.",
        ),
        (spoke(70, ended="ledger-refused", faults="NodeTimeout"), FaultCode.LOST, "was refused by the database."),
        (spoke(0, outcome="Success"), FaultCode.LOST, "exit code 0"),  # and yet the ledger knows of no end
        (spoke(139, ended="DOE^JANE"), FaultCode.LOST, "crashed with exit code 139"),
        (pod(terminated={**exited(139), "message": '{"v":1,"ended":"fen'}), FaultCode.LOST, "crashed"),
        (pod(terminated={**exited(139), "message": "[]"}), FaultCode.LOST, "crashed"),
        (pod(terminated={**exited(139), "message": "[" * 100_000}), FaultCode.LOST, "crashed"),
    ],
)
def test_the_workers_last_word_says_why_its_report_is_missing(
    given: dict[str, Any], code: FaultCode, message: str
) -> None:
    fault = post_mortem.why_ended(FAILED, [given], begun=True, overdue=False)
    assert fault.code is code
    assert fault.outcome is not Outcome.SUCCESS
    assert message in fault.message
    assert "DOE" not in fault.message


def test_out_of_memory_counts_even_if_the_pod_was_being_evicted() -> None:
    both = pod("Failed", condition("DisruptionTarget", "EvictionByEvictionAPI"), terminated=exited(137, "OOMKilled"))
    assert post_mortem.why_ended(FAILED, [both], begun=True, overdue=False).code is FaultCode.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (pod("Failed", reason="Evicted", terminated=exited(143)), FaultCode.OUT_OF_DISK),
        (pod("Failed", condition("DisruptionTarget", "PreemptionByScheduler"), terminated=exited(143)), "Preempted"),
        (pod("Failed", terminated=exited(143)), None),
        (pod("Failed", reason="DeadlineExceeded", terminated=exited(143)), None),
    ],
)
def test_a_worker_that_was_told_to_end_learns_why_from_its_pod(given: dict[str, Any], code: FaultCode | None) -> None:
    fault = post_mortem.why_interrupted([given])
    assert (fault and fault.code) == code


def test_a_pod_that_is_gone_was_disrupted_if_its_job_says_so() -> None:
    disrupted = post_mortem.why_interrupted([], job(condition("Failed", "PodFailurePolicy")))
    assert disrupted is not None
    assert disrupted.code is FaultCode.EVICTED
    assert post_mortem.why_interrupted([], FAILED) is None


@pytest.mark.parametrize(
    ("given", "begun", "overdue", "code"),
    [
        (None, True, False, FaultCode.WORKER_DELETED),
        (None, False, False, FaultCode.LOST),
        (FAILED, False, False, FaultCode.WORKER_DELETED),  # its pod was deleted by hand
        (job(condition("Failed", "PodFailurePolicy")), True, False, FaultCode.EVICTED),
        (job(condition("Failed", "DeadlineExceeded")), True, False, FaultCode.LOST),
        (job(condition("Failed", "DeadlineExceeded")), True, True, FaultCode.DEADLINE_EXCEEDED),
    ],
)
def test_without_a_pod_the_job_says_it(
    given: dict[str, Any] | None, begun: bool, overdue: bool, code: FaultCode
) -> None:
    assert post_mortem.why_ended(given, [], begun=begun, overdue=overdue).code is code


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (pod("Pending", waiting={"reason": "ImagePullBackOff"}), FaultCode.IMAGE_UNAVAILABLE),
        (pod("Pending", waiting={"reason": "ErrImageNeverPull"}), FaultCode.IMAGE_UNAVAILABLE),
        (pod("Pending", waiting={"reason": "CreateContainerConfigError"}), FaultCode.START_FAILED),
        (pod("Pending", condition("PodScheduled", "Unschedulable", "False")), FaultCode.UNSCHEDULABLE),
        (pod("Pending", waiting={"reason": "ContainerCreating"}), None),
        (pod("Pending"), None),
    ],
)
def test_a_pod_says_why_it_does_not_start(given: dict[str, Any], code: FaultCode | None) -> None:
    fault = post_mortem.why_waiting(given)
    assert (fault and fault.code) == code


def test_a_worker_without_a_login_never_started() -> None:
    word = {"exitCode": 64, "message": '{"v":1,"attempt":null,"ended":"no-login"}'}
    assert post_mortem.why_ended(FAILED, [pod("Failed", terminated=word)], begun=False, overdue=False) == (
        post_mortem.fault_of(FaultCode.START_FAILED)
    )


def test_only_what_has_ended_for_good_is_said_to_have_ended() -> None:
    assert post_mortem.has_finished(job(condition("Complete")))
    assert post_mortem.has_finished(FAILED)
    assert not post_mortem.has_finished(job(condition("FailureTarget"), condition("Failed", status="False")))
    assert not post_mortem.has_finished(job(condition("SuccessCriteriaMet"), active=1))
    assert [post_mortem.runs(pod(phase)) for phase in ("Pending", "Running", "Unknown", "Succeeded", "Failed")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_job_without_a_pod_is_told_from_one_that_had_one() -> None:
    assert not post_mortem.has_pod(job())
    assert all(post_mortem.has_pod(each) for each in (job(active=1), job(terminating=1), FAILED))


def test_an_age_is_never_negative() -> None:
    made = {"metadata": {"creationTimestamp": "2026-03-10T12:00:00Z"}}
    assert post_mortem.age(made, datetime(2026, 3, 10, 12, 1, tzinfo=UTC)) == 60
    assert post_mortem.age(made, datetime(2026, 3, 10, 11, 0, tzinfo=UTC)) == 0
