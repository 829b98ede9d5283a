"""Settling: green only on proof, each kind of fault on its own budget, and always an end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.dispatch.settle import MAX_BUGS, MAX_INFRASTRUCTURE_FAULTS, MAX_UNSTARTED, settle
from adit.ledger.records import EndedAttempt, Settlement
from adit.model.outcome import OUTCOME_OF_FAULT, UNSTARTED_FAULTS, Fault, FaultCode, Outcome
from adit.model.state import TaskState
from adit.model.transfer_job import Cancel, Retry
from tests.unit.dispatch.nouns import NOW, ended_attempt, transfer_job


def fault(code: FaultCode) -> Fault:
    return Fault(code=code, message="It went wrong.", cure="Mend it.", node="research", sop_instance_uid="1.2.3")


def decide(ended: EndedAttempt, random: float = 0.5) -> Settlement:
    return settle(ended, now=NOW, random=lambda: random)


# --- green ---


def test_all_verified_is_success() -> None:
    settlement = decide(ended_attempt(Outcome.SUCCESS))
    assert settlement.state is TaskState.SUCCESS
    assert "3" in settlement.message


def test_a_warning_is_never_plain_success() -> None:
    settlement = decide(ended_attempt(Outcome.SUCCESS, warnings=(fault(FaultCode.PATIENT_ID_MISMATCH),)))
    assert settlement.state is TaskState.WARNING
    assert settlement.fault is not None
    assert settlement.fault.code is FaultCode.PATIENT_ID_MISMATCH


def test_a_warning_of_an_earlier_attempt_stands() -> None:
    earlier = fault(FaultCode.FETCHED_WITH_WARNING)
    settlement = decide(ended_attempt(Outcome.SUCCESS, number=2, earlier_warnings=(earlier,)))
    assert (settlement.state, settlement.fault) == (TaskState.WARNING, earlier)
    own = fault(FaultCode.STORED_WITH_WARNING)
    assert decide(ended_attempt(Outcome.SUCCESS, warnings=(own,), earlier_warnings=(earlier,))).fault == own


def test_a_destination_that_can_be_asked_by_now_is_believed() -> None:
    earlier = (fault(FaultCode.ARRIVAL_NOT_PROVABLE),)
    assert decide(ended_attempt(Outcome.SUCCESS, earlier_warnings=earlier)).state is TaskState.SUCCESS
    assert decide(ended_attempt(Outcome.SUCCESS, earlier_warnings=earlier, verified=0)).state is TaskState.PENDING


def test_a_destination_that_cannot_be_asked_makes_a_warning() -> None:
    warnings = (fault(FaultCode.STORED_WITH_WARNING), fault(FaultCode.ARRIVAL_NOT_PROVABLE))
    settlement = decide(ended_attempt(Outcome.SUCCESS, warnings=warnings, verified=0))
    assert settlement.state is TaskState.WARNING
    assert settlement.fault == warnings[1]


@pytest.mark.parametrize(
    "rows",
    [
        {"expected": 0, "stored": 0, "verified": 0},
        {"expected": 3, "stored": 3, "verified": 2},
        {"expected": 3, "stored": 2, "verified": 2},
        {"expected": 3, "stored": 3, "verified": 3, "faulty": 1},
    ],
)
@pytest.mark.parametrize("warnings", [(), (FaultCode.PATIENT_ID_MISMATCH,)])
def test_a_claim_that_the_rows_do_not_carry_is_never_green(
    rows: dict[str, Any], warnings: tuple[FaultCode, ...]
) -> None:
    attempt = ended_attempt(Outcome.SUCCESS, warnings=tuple(map(fault, warnings)), **rows)
    settlement = decide(attempt)
    assert settlement.state is TaskState.PENDING
    assert settlement.fault is not None
    assert settlement.fault.code is FaultCode.NOT_PROVEN
    assert settlement.fault.node == "research"


def test_not_even_all_stored_is_enough_where_arrival_can_be_proven() -> None:
    attempt = ended_attempt(Outcome.SUCCESS, warnings=(fault(FaultCode.PATIENT_ID_MISMATCH),), verified=0)
    assert decide(attempt).state is TaskState.PENDING


# --- again later ---


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE),
        (Outcome.PARTIAL, FaultCode.INCOMPLETE),
        (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED),
    ],
)
def test_a_fault_that_may_pass_is_tried_again_until_its_attempts_are_used(outcome: Outcome, code: FaultCode) -> None:
    job = transfer_job(retry=Retry(max_attempts=3, backoff_seconds=10, max_backoff_seconds=30))
    for used in (1, 2):
        again = decide(ended_attempt(outcome, fault(code), job=job, number=used, counted_attempts=used))
        assert again.state is TaskState.PENDING
        assert again.not_before == NOW + timedelta(seconds=10 * 2 ** (used - 1) * 0.5)
        assert again.message.startswith("Will be tried again: ")
    dead = decide(ended_attempt(outcome, fault(code), job=job, number=3, counted_attempts=3))
    assert dead.state is TaskState.FAILURE
    assert dead.message.startswith("Gave up after 3 attempts.")
    assert "node research" in dead.message
    assert "instance 1.2.3" in dead.message
    assert "Mend it." in dead.message


@given(used=st.integers(1, 19), random=st.floats(0, 1, exclude_max=True))
def test_the_delay_is_full_jitter_below_a_capped_exponential(used: int, random: float) -> None:
    job = transfer_job(retry=Retry(max_attempts=20, backoff_seconds=30, max_backoff_seconds=1800))
    attempt = ended_attempt(
        Outcome.TRANSIENT_FAULT, fault(FaultCode.FETCH_FAILED), job=job, number=used, counted_attempts=used
    )
    not_before = decide(attempt, random).not_before
    assert not_before is not None
    ceiling = min(1800, 30 * 2 ** (used - 1))
    assert not_before - NOW == timedelta(seconds=ceiling * random)


@pytest.mark.parametrize("code", [FaultCode.LOST, FaultCode.INTERRUPTED])
def test_a_lost_worker_has_a_budget_of_its_own_and_comes_back_soon(code: FaultCode) -> None:
    job = transfer_job(retry=Retry(max_attempts=1))
    for lost in range(1, MAX_INFRASTRUCTURE_FAULTS):
        attempt = ended_attempt(
            Outcome.TRANSIENT_FAULT,
            fault(code),
            job=job,
            number=lost,
            counted_attempts=0,
            infrastructure_faults=lost,
        )
        again = decide(attempt, random=0.999)
        assert again.state is TaskState.PENDING
        assert again.not_before is not None
        assert again.not_before - NOW <= timedelta(seconds=30)
    last = decide(
        ended_attempt(
            Outcome.TRANSIENT_FAULT, fault(code), job=job, number=10, counted_attempts=0, infrastructure_faults=10
        )
    )
    assert last.state is TaskState.FAILURE
    assert "10 workers" in last.message


def test_a_worker_that_was_stopped_though_its_job_goes_on_comes_back() -> None:
    """Ctrl-C on the dispatcher must not use up the only attempt that a job has."""
    attempt = ended_attempt(
        Outcome.CANCELLED, fault(FaultCode.CANCELLED), job=transfer_job(retry=Retry(max_attempts=1))
    )
    assert decide(attempt).state is TaskState.PENDING


def test_a_bug_is_tried_twice_at_most() -> None:
    bug = fault(FaultCode.UNEXPECTED)
    assert decide(ended_attempt(Outcome.BUG, bug, bugs=1)).state is TaskState.PENDING
    second = decide(ended_attempt(Outcome.BUG, bug, bugs=MAX_BUGS, number=2, counted_attempts=2))
    assert second.state is TaskState.FAILURE
    assert "2 unexpected errors" in second.message


def test_however_the_faults_are_mixed_a_task_is_not_tried_for_ever() -> None:
    budgets = 5 + MAX_INFRASTRUCTURE_FAULTS + MAX_BUGS
    for number, state in ((budgets - 1, TaskState.PENDING), (budgets, TaskState.FAILURE)):
        attempt = ended_attempt(
            Outcome.CANCELLED,
            fault(FaultCode.CANCELLED),
            job=transfer_job(retry=Retry(max_attempts=5)),
            number=number,
            counted_attempts=1,
        )
        assert decide(attempt).state is state


# --- never again ---


@pytest.mark.parametrize(
    "code",
    [code for code in FaultCode if OUTCOME_OF_FAULT[code].startswith("Permanent")],
)
def test_a_permanent_fault_fails_at_once(code: FaultCode) -> None:
    permanent = fault(code)
    settlement = decide(ended_attempt(permanent.outcome, permanent, verified=0, stored=0))
    assert settlement == Settlement(TaskState.FAILURE, message=str(permanent), fault=permanent)


def test_the_workers_own_deadline_fails() -> None:
    settlement = decide(ended_attempt(Outcome.DEADLINE, fault(FaultCode.DEADLINE_EXCEEDED)))
    assert settlement.state is TaskState.FAILURE


@pytest.mark.parametrize("age", [3600, 3599, 3590])
def test_a_retry_that_would_come_after_the_deadline_is_a_failure(age: int) -> None:
    attempt = ended_attempt(
        Outcome.TRANSIENT_FAULT,
        fault(FaultCode.NODE_UNREACHABLE),
        job=transfer_job(deadline_seconds=3600),
        job_age_seconds=age,
    )
    settlement = decide(attempt)  # the retry would come after 15 s
    assert settlement.state is TaskState.FAILURE
    assert settlement.fault is not None
    assert settlement.fault.code is FaultCode.DEADLINE_EXCEEDED
    assert "NodeUnreachable" in settlement.message


def test_a_retry_before_the_deadline_is_allowed_and_a_late_success_stands() -> None:
    job = transfer_job(deadline_seconds=3600)
    early = ended_attempt(Outcome.TRANSIENT_FAULT, fault(FaultCode.NODE_UNREACHABLE), job=job, job_age_seconds=3580)
    late = ended_attempt(Outcome.SUCCESS, job=job, job_age_seconds=7200)
    assert decide(early).state is TaskState.PENDING
    assert decide(late).state is TaskState.SUCCESS


# --- cancelled ---


@pytest.mark.parametrize("cancel", Cancel)
def test_a_cancelled_job_gets_no_retry(cancel: Cancel) -> None:
    for outcome, code in (
        (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE),
        (Outcome.TRANSIENT_FAULT, FaultCode.LOST),
        (Outcome.CANCELLED, FaultCode.CANCELLED),
        (Outcome.PARTIAL, FaultCode.INCOMPLETE),
        (Outcome.BUG, FaultCode.UNEXPECTED),
    ):
        attempt = ended_attempt(outcome, fault(code), job=transfer_job(cancel=cancel), bugs=1)
        assert decide(attempt).state is TaskState.CANCELED


@pytest.mark.parametrize("cancel", Cancel)
def test_what_a_task_of_a_cancelled_job_really_reached_counts(cancel: Cancel) -> None:
    job = transfer_job(cancel=cancel)
    refused = fault(FaultCode.INSTANCE_REFUSED)
    assert decide(ended_attempt(Outcome.SUCCESS, job=job)).state is TaskState.SUCCESS
    assert decide(ended_attempt(refused.outcome, refused, job=job)).state is TaskState.FAILURE


@pytest.mark.parametrize(
    ("cancel", "state"), [(Cancel.DRAIN, TaskState.FAILURE), (Cancel.TERMINATE, TaskState.CANCELED)]
)
def test_the_last_attempt_fails_when_drained_but_not_when_it_was_cut_short(cancel: Cancel, state: TaskState) -> None:
    job = transfer_job(cancel=cancel, retry=Retry(max_attempts=1))
    assert decide(ended_attempt(Outcome.TRANSIENT_FAULT, fault(FaultCode.FETCH_FAILED), job=job)).state is state


# --- a worker that could not be started ---


@pytest.mark.parametrize("code", sorted(UNSTARTED_FAULTS))
def test_what_could_not_be_started_costs_no_attempt(code: FaultCode) -> None:
    job = transfer_job(retry=Retry(max_attempts=1))
    unstarted = ended_attempt(
        Outcome.TRANSIENT_FAULT, fault(code), job=job, number=90, counted_attempts=0, unstarted=90
    )
    again = decide(unstarted, 0.5)
    assert again.state is TaskState.PENDING
    assert again.not_before == NOW + timedelta(seconds=150)


def test_what_can_never_be_started_is_given_up_in_the_end() -> None:
    refused = fault(FaultCode.LAUNCH_REFUSED)
    given_up = decide(ended_attempt(Outcome.TRANSIENT_FAULT, refused, number=MAX_UNSTARTED, unstarted=MAX_UNSTARTED))
    assert given_up.state is TaskState.FAILURE
    assert given_up.fault == refused


# --- whatever comes ---

any_attempt = st.builds(
    ended_attempt,
    st.sampled_from(Outcome),
    job=st.builds(
        transfer_job,
        cancel=st.sampled_from((None, *Cancel)),
        deadline_seconds=st.one_of(st.none(), st.just(100)),
        retry=st.builds(Retry, max_attempts=st.integers(1, 20)),
    ),
    warnings=st.lists(st.sampled_from(FaultCode).map(fault), max_size=2).map(tuple),
    number=st.integers(1, 40),
    counted_attempts=st.integers(0, 25),
    infrastructure_faults=st.integers(0, 12),
    bugs=st.integers(0, 3),
    unstarted=st.integers(0, 30),
    expected=st.integers(0, 2),
    stored=st.integers(0, 2),
    verified=st.integers(0, 2),
    faulty=st.integers(0, 1),
    job_age_seconds=st.integers(0, 200),
)


@given(attempt=any_attempt, random=st.floats(0, 1, exclude_max=True))
def test_every_ending_is_settled_and_none_wrongly_green(attempt: EndedAttempt, random: float) -> None:
    settlement = decide(attempt, random)
    assert settlement.message
    if settlement.state is TaskState.PENDING:
        assert settlement.not_before is not None
        assert settlement.not_before >= NOW
        assert attempt.job.spec.cancel is None
        budgets = attempt.job.spec.retry.max_attempts + MAX_INFRASTRUCTURE_FAULTS + MAX_BUGS
        assert attempt.number - attempt.unstarted < budgets
    else:
        assert settlement.state.ended
        assert settlement.not_before is None
    if settlement.state in (TaskState.FAILURE, TaskState.WARNING):
        assert settlement.fault is not None
    if settlement.state is TaskState.SUCCESS:
        assert attempt.report.outcome is Outcome.SUCCESS
        assert 0 < attempt.expected == attempt.verified
        assert not attempt.report.warnings
    if settlement.state is TaskState.WARNING:
        assert attempt.report.outcome is Outcome.SUCCESS
        assert 0 < attempt.expected <= max(attempt.verified, attempt.stored)
