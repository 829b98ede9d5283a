"""A launcher whose workers do what the test says, and a fuse that kills a dispatcher at any call it makes.

Both stand on the real ledger: a scripted worker begins, writes and reports through AttemptLedger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adit.dispatch.launcher import LaunchFailed
from adit.ledger.attempt_ledger import AttemptLedger, Fenced
from adit.ledger.records import Claim, EndedAttempt, RunningAttempt
from adit.model.assignment import Assignment, Progress, Report
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, Outcome

INSTANCES = 3  # of every study


@dataclass
class Destination:
    """What really arrived, by task: the truth that the ledger must not exceed."""

    arrived: dict[int, set[str]] = field(default_factory=dict)

    def store(self, task_id: int, uid: str) -> None:
        self.arrived.setdefault(task_id, set()).add(uid)

    def has_all(self, task_id: int) -> bool:
        return len(self.arrived.get(task_id, ())) == INSTANCES


@dataclass
class Worker:
    """A process that was launched: it runs until it ended, vanished or was killed."""

    claim: Claim
    worker_url: str
    destination: Destination
    seen: bool = True  # False: it runs where no launcher can see or signal it
    runs: bool = True
    stop_asked: bool = False
    _ledger: AttemptLedger | None = None
    _assignment: Assignment | None = None

    @property
    def attempt_id(self) -> int:
        return self.claim.assignment.attempt_id

    @property
    def begun(self) -> bool:
        return self._assignment is not None

    def begin(self, now: datetime) -> None:
        ledger = AttemptLedger(self.worker_url, self.attempt_id, self.claim.assignment.token)
        self._ledger = ledger
        try:
            self._assignment = ledger.begin(f"scripted-{self.attempt_id}", now)
        except Fenced:
            self.end()

    def work(self, stored: int, now: datetime) -> None:
        """Writes the plan, and the first `stored` instances as proven; with 0 and again it is a mere heartbeat."""
        self._fenced(lambda ledger: ledger.write(self._rows(stored), self._progress(stored), (), now))

    def report(self, outcome: Outcome, faults: tuple[Fault, ...], warnings: tuple[Fault, ...], now: datetime) -> None:
        """The worker's last word, true or not; it exits whether or not the ledger takes it."""
        progress = Progress(expected=INSTANCES)
        report = Report(outcome=outcome, faults=faults, warnings=warnings, progress=progress)
        self._fenced(lambda ledger: ledger.finish(report, now))
        self.end()

    def end(self) -> None:
        self.runs = False
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _fenced(self, action: Callable[[AttemptLedger], object]) -> None:
        if self._ledger is None:
            return
        try:
            action(self._ledger)
        except Fenced:
            self.end()

    def _rows(self, stored: int) -> list[InstanceRecord]:
        task_id = self.claim.assignment.task_id
        rows = []
        for number in range(INSTANCES):
            uid = f"{self.claim.assignment.study_instance_uid}.1.{number}"
            there = number < stored
            if there:
                self.destination.store(task_id, uid)
            rows.append(
                InstanceRecord(
                    sop_instance_uid=uid,
                    series_instance_uid=f"{self.claim.assignment.study_instance_uid}.1",
                    state=InstanceState.VERIFIED if there else InstanceState.EXPECTED,
                    size=100 if there else None,
                    sha256="0" * 64 if there else None,
                )
            )
        return rows

    def _progress(self, stored: int) -> Progress:
        return Progress(expected=INSTANCES, received=stored, stored=stored, verified=stored)


@dataclass
class ScriptedLauncher:
    """Implements the launcher's port; `workers` is the world outside, shared by all dispatchers."""

    worker_url: str
    destination: Destination
    workers: dict[int, Worker] = field(default_factory=dict)
    refusals: int = 0  # how many of the next launches fail

    def launch(self, claim: Claim) -> None:
        if self.refusals:
            self.refusals -= 1
            raise LaunchFailed("no room for a process")
        attempt_id = claim.assignment.attempt_id
        assert attempt_id not in self.workers, "one attempt was launched twice"
        self.workers[attempt_id] = Worker(claim, self.worker_url, self.destination)

    def stop(self, attempt: RunningAttempt) -> None:
        worker = self._seen(attempt)
        if worker is not None:
            worker.stop_asked = True

    def kill(self, attempt: RunningAttempt) -> None:
        worker = self._seen(attempt)
        if worker is not None:
            worker.end()

    def epitaph(self, attempt: RunningAttempt) -> Fault | None:
        return None

    def interruption(self, ended: EndedAttempt) -> Fault | None:
        return None

    def closed(self) -> frozenset[str]:
        return frozenset()

    def alive(self, attempt: RunningAttempt) -> bool | None:
        worker = self._seen(attempt)
        return None if worker is None else worker.runs

    def own(self) -> frozenset[int]:
        return frozenset(worker.attempt_id for worker in self.running())

    def stop_own(self) -> None:
        for worker in self.running():
            worker.stop_asked = True

    def kill_own(self) -> None:
        for worker in self.running():
            worker.end()

    def reap(self, running: Sequence[RunningAttempt]) -> None:
        """Nothing is left behind by workers that are made up."""

    def running(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.runs]

    def _seen(self, attempt: RunningAttempt) -> Worker | None:
        worker = self.workers.get(attempt.attempt_id)
        return worker if worker is not None and worker.seen else None


class Killed(BaseException):
    """The dispatcher died here. Not an Exception, so that nothing can catch it by accident."""


class Fuse:
    """Burns down by one at each call of what it guards; the last one kills, before or after it took effect."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._after = False

    @contextmanager
    def lit(self, calls: int, *, after: bool) -> Iterator[None]:
        """Dies at the `calls`-th call within the block, if there are as many."""
        self._left, self._after = calls, after
        try:
            yield
        except Killed:
            pass
        finally:
            self._left = None

    def guard(self, target: Any) -> Any:
        return _Guarded(target, self)

    def burn(self, call: Callable[[], Any]) -> Any:
        if self._left is None:
            return call()
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        result = call()
        if self._left == 0:
            raise Killed
        return result


class _Guarded:
    """Passes every method call on, through the fuse; an admission dies before its commit or after it."""

    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name == "admission":
            return lambda now: _guarded_admission(self._fuse, method, now)
        return lambda *given, **named: self._fuse.burn(lambda: method(*given, **named))


@contextmanager
def _guarded_admission(fuse: Fuse, method: Callable[[datetime], Any], now: datetime) -> Iterator[Any]:
    with method(now) as admission:
        yield admission
        fuse.burn(lambda: None)  # rolls back
    fuse.burn(lambda: None)  # committed, nothing launched yet
