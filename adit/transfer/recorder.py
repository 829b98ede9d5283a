"""Writes what the attempt did into the ledger: batched, at most once a second, and as heartbeat when nothing happens.

The only caller of the ledger while an attempt runs. A record is written after the fact it tells, so a
crash costs a repeat and never a loss.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from adit.ledger.attempt_ledger import Directive, Fenced, LedgerUnavailable
from adit.ledger.event_record import EventRecord
from adit.model.assignment import Assignment, Progress
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault
from adit.transfer.halt import Halt, Reason
from adit.transfer.patience import Patience

if TYPE_CHECKING:
    from adit.model.treatment import TreatmentRecord

INTERVAL: Final = 1.0
"""Seconds between two writes, and how late a record may be."""

_EVENTS_AT_MOST: Final = 1000
"""An attempt that has more to tell repeats itself."""


class AttemptWriter(Protocol):
    """The part of `adit.ledger.attempt_ledger.AttemptLedger` that the recorder needs."""

    def write(
        self,
        records: Sequence[InstanceRecord],
        progress: Progress,
        events: Sequence[EventRecord],
        now: datetime,
        treatments: Sequence[TreatmentRecord],
    ) -> Directive: ...


class Recorder:
    """Keeps what is not yet written in memory, the newest record per instance; nothing of it is lost while
    the ledger is away. One lock around each write, as the ledger has one connection."""

    def __init__(
        self,
        ledger: AttemptWriter,
        assignment: Assignment,
        halt: Halt,
        *,
        clock: Callable[[], datetime],
        patience: Patience,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._assignment = assignment
        self._halt = halt
        self._clock = clock
        self._patience = patience
        self._monotonic = monotonic
        self._progress: Callable[[], Progress] = Progress
        self._lock = threading.Lock()  # of the three that follow
        self._records: dict[str, InstanceRecord] = {}
        self._events: list[EventRecord] = []
        self._treatments: dict[str, TreatmentRecord] = {}
        self._known_treatments: set[str] = set()
        self._told: set[tuple[str, str, str]] = set()  # faults that have a line
        self._writing = threading.Lock()
        self._written_at = monotonic()
        self._written_progress = Progress()
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self, progress: Callable[[], Progress]) -> None:
        self._progress = progress
        self._thread.start()

    def record(self, record: InstanceRecord) -> None:
        with self._lock:
            self._records[record.sop_instance_uid] = record

    def treatment(self, record: TreatmentRecord) -> None:
        """What was done to instances; written once an attempt, at the latest with the rows that name it."""
        with self._lock:
            if record.digest not in self._known_treatments:
                self._known_treatments.add(record.digest)
                self._treatments[record.digest] = record

    def event(self, level: str, code: str, message: str, detail: Mapping[str, object] | None = None) -> None:
        """One line of the task's log; `level` is info, warning or error. No patient data."""
        event = EventRecord(
            task_id=self._assignment.task_id,
            attempt_number=self._assignment.number,
            at=self._clock(),
            level=level,
            code=code,
            message=message,
            detail=dict(detail or {}),
        )
        with self._lock:
            if len(self._events) < _EVENTS_AT_MOST:
                self._events.append(event)

    def fault(self, level: str, fault: Fault) -> None:
        """A fault as a line of the task's log, once an attempt: every store thread may meet the same one."""
        line = (level, str(fault.code), str(fault))
        with self._lock:
            if line in self._told:
                return
            self._told.add(line)
        self.event(*line)

    def seconds_since_write(self) -> float:
        """How long ago the last write that succeeded was begun: the lease counts from there, at the latest."""
        return self._monotonic() - self._written_at

    def flush(self) -> bool:
        """Writes everything now; tries on while the ledger is away. False when the attempt or the lease is lost."""
        while not self._halt.abrupt and self.seconds_since_write() < self._assignment.lease_seconds:
            if self._write():
                return True
            time.sleep(self._patience.ledger)
        return False

    def close(self) -> bool:
        """Ends the thread and writes the rest; False if it could not be written. Raises the thread's own bug."""
        self._done.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.flush()

    def _run(self) -> None:
        try:
            while not self._done.wait(INTERVAL) and not self._halt.abrupt:
                if self._due():
                    self._write()
        except Exception as error:  # noqa: BLE001 - told by `close`, where it can end the attempt as a bug
            self._error = error
            self._halt.order(Reason.LEDGER_LOST)

    def _due(self) -> bool:
        with self._lock:
            pending = bool(self._records or self._events)
        quiet = self.seconds_since_write()
        return pending or quiet >= self._assignment.lease_seconds / 4 or self._progress() != self._written_progress

    def _write(self) -> bool:
        with self._writing:
            with self._lock:
                records, self._records = self._records, {}
                events, self._events = self._events, []
                treatments, self._treatments = self._treatments, {}
            progress = self._progress()
            begun = self._monotonic()
            try:
                directive = self._ledger.write(
                    list(records.values()), progress, events, self._clock(), list(treatments.values())
                )
            except LedgerUnavailable:
                with self._lock:
                    self._records = {**records, **self._records}  # what came meanwhile is newer
                    self._events = events + self._events
                    self._treatments = {**treatments, **self._treatments}
                return False
            except Fenced:
                self._halt.order(Reason.FENCED)
                return False
            self._written_at = begun
            self._written_progress = progress
        if directive.stop:
            self._halt.order(Reason.CANCELLED)
        return True
