"""Compares what the ledger calls running with what runs, and repairs: lost, silent, to be stopped.

A part of the dispatcher's step. Level-triggered: it looks at all running attempts each time and needs
no event; every repair is a compare-and-swap in the ledger, so repeating it, or a second dispatcher
that does the same, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from adit.dispatch.launcher import Launcher
from adit.dispatch.lease import Leases
from adit.ledger.ledger import Ledger
from adit.ledger.records import RunningAttempt
from adit.model.outcome import Fault, FaultCode

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the dispatcher waits for a worker, in seconds."""

    lease: int = 30  # without a sign of life before the attempt is declared lost
    start: int | None = None  # until a launched worker gives its first sign of life; as the lease, if absent
    stop: float = 30  # after it was asked to stop before it is killed
    deadline: float = 30  # after the job's deadline, which the worker watches itself, before it is asked to stop


class Sweep:
    """What one dispatcher remembers about running attempts; all of it may be forgotten."""

    def __init__(self, ledger: Ledger, launcher: Launcher, patience: Patience, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._launcher = launcher
        self._patience = patience
        self._monotonic = monotonic
        self._leases = Leases(patience.lease, patience.start)
        self._stopping: dict[int, float] = {}  # attempt id: when it was first asked to stop (monotonic)

    def run(self, now: datetime, stopped: Set[int] = frozenset()) -> bool:
        """One look at all running attempts. True if an attempt was declared lost or asked to stop.

        `stopped` are attempts whose workers were told to end, not by way of the ledger.
        """
        running = self._ledger.running()
        self._launcher.reap(running)
        silent = {attempt.attempt_id for attempt in self._leases.expired(running, self._monotonic())}
        lost = 0
        present: list[RunningAttempt] = []
        for attempt in running:
            if self._launcher.alive(attempt) is False:
                told = attempt.attempt_id in stopped or attempt.stop_requested_at is not None
                # Too young to take note of the signal, it ended by it: that was asked for, and is no loss.
                young = told and attempt.begun_at is None
                fault = _STOPPED if young else self._launcher.epitaph(attempt) or _VANISHED
                lost += self._lose(attempt, fault, now)
            elif attempt.attempt_id in silent:
                lost += self._lose(attempt, self._launcher.epitaph(attempt) or _SILENT, now)
            else:
                present.append(attempt)
        asked = self._request_stops(present, now)
        lost += self._stop(present, now)
        return lost + asked > 0

    def _lose(self, attempt: RunningAttempt, fault: Fault, now: datetime) -> bool:
        """Ends the attempt in the ledger, and only then for certain in reality: it is fenced before it is killed.

        The swap compares the heartbeat that was read before the worker was looked at, and never
        touches an attempt that has ended: a report written at the last moment stands.
        """
        lost = self._ledger.declare_lost(attempt.attempt_id, seen_heartbeat=attempt.heartbeat_at, fault=fault, now=now)
        if lost:
            _log.warning("attempt lost", task=attempt.task_id, attempt=attempt.attempt_id, reason=fault.message)
            self._launcher.kill(attempt)
        return lost

    def _request_stops(self, running: Sequence[RunningAttempt], now: datetime) -> int:
        """Workers of jobs being terminated, and those that overran their deadline, are asked through the ledger."""
        overdue = {
            attempt.attempt_id
            for attempt in running
            if attempt.deadline is not None
            and attempt.stop_requested_at is None
            and now >= attempt.deadline + timedelta(seconds=self._patience.deadline)
        }
        asked = sorted(overdue.union(self._ledger.terminating()))
        if asked:
            self._ledger.request_stop(asked, now)
            _log.info("asked to stop", attempts=asked)
        return len(asked)

    def _stop(self, running: Sequence[RunningAttempt], now: datetime) -> int:
        """Signals those asked to stop; kills them after the grace; gives up those that nothing reaches."""
        to_stop = [attempt for attempt in running if attempt.stop_requested_at is not None]
        seconds = self._monotonic()
        for attempt in to_stop:
            if attempt.attempt_id not in self._stopping:
                self._launcher.stop(attempt)
        self._stopping = {attempt.attempt_id: self._stopping.get(attempt.attempt_id, seconds) for attempt in to_stop}
        lost = 0
        for attempt in to_stop:
            waited = seconds - self._stopping[attempt.attempt_id]
            if waited >= 2 * self._patience.stop:
                lost += self._lose(attempt, _UNSTOPPABLE, now)
            elif waited >= self._patience.stop:
                self._launcher.kill(attempt)
        return lost


def _lost(message: str) -> Fault:
    return Fault(
        code=FaultCode.LOST,
        message=message,
        cure="If this repeats, look at the worker's log.",
    )


_STOPPED = Fault(
    code=FaultCode.INTERRUPTED,
    message="The worker was told to end before it had begun.",
    cure="Nothing had been sent; the next attempt starts from the beginning.",
)
_VANISHED = _lost("The worker ended without a report.")
_SILENT = _lost("The worker gave no sign of life for too long.")
_UNSTOPPABLE = _lost("The worker neither stopped when asked to nor could be ended.")
NOT_STARTED = _lost("The worker could not be started.")
