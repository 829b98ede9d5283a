"""What becomes of a task after an attempt: done, done with warnings, again later, or never. A pure decision.

Called by the dispatcher for every attempt that ended. Bound to the closed vocabulary of outcomes and
to the instance rows, never to a message's text and never to the worker's word alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from adit.ledger.records import EndedAttempt, Settlement
from adit.model.counted import counted
from adit.model.outcome import INFRASTRUCTURE_FAULTS, UNSTARTED_FAULTS, WARNINGS, Fault, FaultCode, Outcome
from adit.model.state import TaskState
from adit.model.transfer_job import Cancel

MAX_INFRASTRUCTURE_FAULTS: Final = 10
"""How often a task may lose its worker (killed, vanished, interrupted) before it is given up."""
MAX_UNSTARTED: Final = 200
"""How often no worker could be started for a task (about eight hours of trying) before it is given up."""
MAX_BUGS: Final = 2
"""How often a task may hit an error in our own code before it is given up."""
_INFRASTRUCTURE_BACKOFF: Final = (1, 30)  # base and cap, in seconds
_UNSTARTED_BACKOFF: Final = (5, 300)

_LASTING: Final = (WARNINGS - {FaultCode.ARRIVAL_NOT_PROVABLE}) | {FaultCode.CONTRACT_MISMATCH}
"""Warnings about the data as it was fetched or stored, which stays so whatever a later attempt does;
also those of another version's workers, which this one cannot read."""

_PASSING = frozenset({Outcome.TRANSIENT_FAULT, Outcome.PARTIAL, Outcome.EMPTY, Outcome.CANCELLED})
"""Outcomes that another attempt may mend, and that stopping a worker can cause."""


def settle(ended: EndedAttempt, *, now: datetime, random: Callable[[], float]) -> Settlement:
    """The task's next state. `random` gives a number in [0, 1) and spreads retries (full jitter).

    - Success only if every expected instance is verified, there is at least one, and nothing was
      worth a warning, in this attempt or an earlier one. Without a destination that can be asked: a
      warning, if all is stored.
    - A fault that may pass: again later, up to the job's `retry.maxAttempts`; the loss of a worker,
      a worker that could not be started and our own bugs have budgets of their own.
    - Nothing is retried once the job is cancelled or when its deadline would come first.
    """
    settlement = _bounded(_by_outcome(ended, now, random), ended)
    if ended.job.spec.cancel is not None:
        return _of_cancelled_job(settlement, ended)
    if settlement.state is TaskState.PENDING:
        return _before_deadline(settlement, ended, now)
    return settlement


def _by_outcome(ended: EndedAttempt, now: datetime, random: Callable[[], float]) -> Settlement:
    report = ended.report
    match report.outcome:
        case Outcome.SUCCESS:
            return _claimed_success(ended, now, random)
        case Outcome.PERMANENT_DATA_FAULT | Outcome.PERMANENT_CONFIGURATION_FAULT | Outcome.DEADLINE:
            return _failure(_fault(ended))
        case Outcome.BUG:
            if ended.bugs >= MAX_BUGS:
                return _given_up(ended, counted(ended.bugs, "unexpected error"))
            return _retry(ended, _fault(ended), now, random)
        case Outcome.TRANSIENT_FAULT | Outcome.PARTIAL | Outcome.EMPTY | Outcome.CANCELLED:
            if _is_unstarted(ended):
                return _retry_start(ended, now, random)
            if _is_infrastructure(ended):
                return _retry_after_loss(ended, now, random)
            return _retry(ended, _fault(ended), now, random)


def _claimed_success(ended: EndedAttempt, now: datetime, random: Callable[[], float]) -> Settlement:
    """Believes the instance rows; a claim that they do not carry is a fault like any other."""
    earlier = (warning for warning in ended.earlier_warnings if warning.code in _LASTING)
    warnings = [*ended.report.warnings, *earlier]  # this attempt may have had less to do, and met less
    unprovable = next((warning for warning in warnings if warning.code is FaultCode.ARRIVAL_NOT_PROVABLE), None)
    proven = 0 < ended.expected == ended.verified
    stored = 0 < ended.expected == ended.stored
    if ended.faulty or not (proven or (stored and unprovable)):
        return _retry(ended, _not_proven(ended), now, random)
    if warnings:
        first = unprovable or warnings[0]
        return Settlement(TaskState.WARNING, message=str(first), fault=first)
    arrived = "The only instance has" if ended.expected == 1 else f"All {ended.expected} instances have"
    left_out = f" {counted(ended.left_out, 'instance')} left out, as the profile says." if ended.left_out else ""
    return Settlement(TaskState.SUCCESS, message=f"{arrived} arrived.{left_out}")


def _retry(ended: EndedAttempt, fault: Fault, now: datetime, random: Callable[[], float]) -> Settlement:
    """Another attempt after min(cap, base * 2^n) * random seconds, or the dead letter."""
    retry = ended.job.spec.retry
    if ended.counted_attempts >= retry.max_attempts:
        return _failure(fault, f"Gave up after {counted(ended.counted_attempts, 'attempt')}. ")
    ceiling = min(retry.max_backoff_seconds, retry.backoff_seconds * 2 ** max(0, ended.counted_attempts - 1))
    return _again(fault, now, ceiling * random())


def _retry_after_loss(ended: EndedAttempt, now: datetime, random: Callable[[], float]) -> Settlement:
    if ended.infrastructure_faults >= MAX_INFRASTRUCTURE_FAULTS:
        return _given_up(ended, f"the loss of {ended.infrastructure_faults} workers")
    return _again(_fault(ended), now, _backoff(_INFRASTRUCTURE_BACKOFF, ended.infrastructure_faults) * random())


def _retry_start(ended: EndedAttempt, now: datetime, random: Callable[[], float]) -> Settlement:
    """A cluster without room is no fault of the task: it waits long, but not for ever."""
    if ended.unstarted >= MAX_UNSTARTED:
        return _given_up(ended, f"{ended.unstarted} attempts at starting a worker")
    return _again(_fault(ended), now, _backoff(_UNSTARTED_BACKOFF, ended.unstarted) * random())


def _backoff(bounds: tuple[int, int], times: int) -> int:
    """Seconds: the base, doubled with each further time, up to the cap."""
    base, cap = bounds
    return min(cap, base << min(20, max(0, times - 1)))


def _bounded(settlement: Settlement, ended: EndedAttempt) -> Settlement:
    """Whatever the faults were, no task is tried more often than all of its budgets allow together."""
    budgets = ended.job.spec.retry.max_attempts + MAX_INFRASTRUCTURE_FAULTS + MAX_BUGS
    if settlement.state is TaskState.PENDING and ended.number - ended.unstarted >= budgets:
        return _given_up(ended, f"{ended.number - ended.unstarted} attempts of any kind")
    return settlement


def _given_up(ended: EndedAttempt, after: str) -> Settlement:
    return _failure(_fault(ended), f"Gave up after {after}. ")


def _of_cancelled_job(settlement: Settlement, ended: EndedAttempt) -> Settlement:
    """What the attempt achieved still counts; what would be retried, or was cut short, is Canceled."""
    cut_short = ended.job.spec.cancel is Cancel.TERMINATE and ended.report.outcome in _PASSING
    if settlement.state is TaskState.PENDING or (cut_short and settlement.state is TaskState.FAILURE):
        return Settlement(TaskState.CANCELED, message="Cancelled with its job.")
    return settlement


def _before_deadline(settlement: Settlement, ended: EndedAttempt, now: datetime) -> Settlement:
    seconds = ended.job.spec.deadline_seconds
    if seconds is None:
        return settlement
    deadline = ended.job_created_at + timedelta(seconds=seconds)
    if max(now, settlement.not_before or now) < deadline:
        return settlement
    last = f" The last attempt ended with {settlement.fault}" if settlement.fault else ""
    return _failure(
        Fault(
            code=FaultCode.DEADLINE_EXCEEDED,
            message=f"The job's deadline of {seconds} s leaves no time for another attempt.{last}",
            cure="Make a new job with selection.failedOf and a later deadline.",
            node=settlement.fault.node if settlement.fault else None,
        )
    )


def _is_infrastructure(ended: EndedAttempt) -> bool:
    """The place where the worker ran failed, not the nodes; or it was stopped, but not to cancel its job."""
    faults = ended.report.faults
    return ended.report.outcome is Outcome.CANCELLED or (bool(faults) and faults[0].code in INFRASTRUCTURE_FAULTS)


def _is_unstarted(ended: EndedAttempt) -> bool:
    """No worker ever began."""
    faults = ended.report.faults
    return bool(faults) and faults[0].code in UNSTARTED_FAULTS


def _fault(ended: EndedAttempt) -> Fault:
    """What decided the attempt's end; made from the rows where the worker named nothing."""
    if ended.report.faults:
        return ended.report.faults[0]
    code, message = _UNNAMED[ended.report.outcome]
    return Fault(
        code=code,
        message=f"{message} {ended.stored} of {counted(ended.expected, 'expected instance')} stored.",
        cure="See the task's events.",
        node=ended.job.spec.source.node,
    )


_UNNAMED: Final[dict[Outcome, tuple[FaultCode, str]]] = {
    Outcome.SUCCESS: (FaultCode.NOT_PROVEN, "Arrival is not proven."),
    Outcome.PARTIAL: (FaultCode.INCOMPLETE, "Only a part was transferred."),
    Outcome.EMPTY: (FaultCode.NOTHING_RECEIVED, "The source sent nothing."),
    Outcome.TRANSIENT_FAULT: (FaultCode.FETCH_FAILED, "The attempt failed."),
    Outcome.PERMANENT_DATA_FAULT: (FaultCode.INSTANCE_UNREADABLE, "The data cannot be transferred."),
    Outcome.PERMANENT_CONFIGURATION_FAULT: (FaultCode.SERVICE_NOT_OFFERED, "The nodes do not allow the transfer."),
    Outcome.DEADLINE: (FaultCode.DEADLINE_EXCEEDED, "The deadline has passed."),
    Outcome.CANCELLED: (FaultCode.CANCELLED, "The attempt was stopped."),
    Outcome.BUG: (FaultCode.UNEXPECTED, "The worker failed unexpectedly."),
}


def _not_proven(ended: EndedAttempt) -> Fault:
    return Fault(
        code=FaultCode.NOT_PROVEN,
        message=(
            f"The worker reported success, but the arrival of only {ended.verified} of "
            f"{counted(ended.expected, 'expected instance')} is proven."
        ),
        cure="Ask the destination what it holds of the study; if it has everything, please report this as a bug.",
        node=ended.job.spec.destination.node,
    )


def _again(fault: Fault, now: datetime, seconds: float) -> Settlement:
    return Settlement(
        TaskState.PENDING,
        not_before=now + timedelta(seconds=seconds),
        message=f"Will be tried again: {fault}",
        fault=fault,
    )


def _failure(fault: Fault, prefix: str = "") -> Settlement:
    return Settlement(TaskState.FAILURE, message=f"{prefix}{fault}", fault=fault)
