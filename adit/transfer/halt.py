"""Why an attempt must stop early, and who notices: one flag that every thread of the attempt reads.

Set by the watchdog (signal, deadline, longest time, lease) and by the recorder (the ledger's orders).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Final

from adit.model.outcome import Fault, FaultCode


class Reason(StrEnum):
    """Why an attempt stops before it is done."""

    CANCELLED = "cancelled"  # the job was cancelled
    INTERRUPTED = "interrupted"  # this process was told to end
    TOO_LONG = "too long"  # the attempt has taken as long as one may
    DEADLINE = "deadline"  # the job's deadline has passed
    LEDGER_LOST = "ledger lost"  # nothing could be written for most of a lease: another attempt may start soon
    FENCED = "fenced"  # the attempt is no longer ours


_GRACEFUL: Final = {Reason.CANCELLED, Reason.INTERRUPTED, Reason.TOO_LONG, Reason.DEADLINE}

FAULTS: Final = {
    Reason.CANCELLED: Fault(
        code=FaultCode.CANCELLED,
        message="The job was cancelled while this task was running.",
        cure="To transfer what is missing, make a new job.",
    ),
    Reason.INTERRUPTED: Fault(
        code=FaultCode.INTERRUPTED,
        message="The worker was told to stop before the task was done.",
        cure="Nothing: what it did is kept.",
    ),
    Reason.TOO_LONG: Fault(
        code=FaultCode.INTERRUPTED,
        message="The attempt took as long as one may, so the worker stopped before the task was done.",
        cure="Let attempts take longer, if it happens often: what this one did is kept.",
    ),
    Reason.DEADLINE: Fault(
        code=FaultCode.DEADLINE_EXCEEDED,
        message="The job's deadline passed while this task was running.",
        cure="Make a new job with selection.failedOf and a later deadline.",
    ),
    Reason.LEDGER_LOST: Fault(
        code=FaultCode.INTERRUPTED,
        message="The ledger could not be written for most of the attempt's lease, so the worker stopped.",
        cure="See that Postgres is up and reachable from the worker.",
    ),
    Reason.FENCED: Fault(
        code=FaultCode.LOST,
        message="The attempt was declared lost while its worker was still at it.",
        cure="Nothing: another attempt has taken over.",
    ),
}


class Halt:
    """Set once; the first reason stands, except that losing the attempt overrules a graceful stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._reason: Reason | None = None

    def order(self, reason: Reason) -> None:
        with self._lock:
            if self._reason is None or (self._reason in _GRACEFUL and reason not in _GRACEFUL):
                self._reason = reason
            self._event.set()

    @property
    def reason(self) -> Reason | None:
        return self._reason

    @property
    def abrupt(self) -> bool:
        """Whether not even what has been received may still be stored."""
        return self._reason is not None and self._reason not in _GRACEFUL

    def wait(self, seconds: float) -> bool:
        """Sleeps, unless told to halt; whether it was."""
        return self._event.wait(seconds)


class Watchdog:
    """A thread that turns a signal, the deadline and a silent ledger into a halt, and a halt into interrupts.

    A halt interrupts the source at once, the destination after `grace` seconds, so that what has been
    received can still be stored; without any grace when the attempt is no longer surely ours. Both are
    interrupted again at each tick, so neither may mind.
    """

    def __init__(
        self,
        halt: Halt,
        *,
        stop: threading.Event,
        clock: Callable[[], datetime],
        deadline: datetime | None,
        until: datetime | None = None,
        seconds_since_write: Callable[[], float],
        lease_seconds: float,
        grace: float,
        interrupt_source: Callable[[], None],
        interrupt_destination: Callable[[], None],
        tick: float = 0.2,
    ) -> None:
        self._halt = halt
        self._stop = stop
        self._clock = clock
        self._deadline = deadline
        self._until = until
        self._seconds_since_write = seconds_since_write
        self._patience = lease_seconds * 2 / 3
        self._grace = grace
        self._interrupt_source = interrupt_source
        self._interrupt_destination = interrupt_destination
        self._tick = tick
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        """Looks on after a halt too: a graceful one may become abrupt."""
        halted_for = 0.0
        while not self._done.wait(self._tick):
            self._look()
            if self._halt.reason is None:
                continue
            self._interrupt_source()
            if self._halt.abrupt or halted_for >= self._grace:
                self._interrupt_destination()
            halted_for += self._tick

    def _look(self) -> None:
        if self._stop.is_set():
            self._halt.order(Reason.INTERRUPTED)
        if self._deadline is not None and self._clock() >= self._deadline:
            self._halt.order(Reason.DEADLINE)
        if self._until is not None and self._clock() >= self._until:
            self._halt.order(Reason.TOO_LONG)
        if self._seconds_since_write() > self._patience:
            self._halt.order(Reason.LEDGER_LOST)
