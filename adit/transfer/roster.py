"""The instances of one task: which are expected, and what became of each. Shared by all threads of an attempt.

The only place that changes an instance's record; each change goes to the recorder, which writes it down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adit.dicom.node import Instance, Stored, Wanted
from adit.model.assignment import Progress
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode

Record = Callable[[InstanceRecord], None]

_Content = tuple[str, str]  # transfer syntax UID and SHA-256 of the encoded data set

AT_DESTINATION = frozenset({InstanceState.STORED, InstanceState.VERIFIED})

DONE_WITH = AT_DESTINATION | {InstanceState.LEFT_OUT}
"""States of what need not be fetched any more."""

HELD_BEFORE: Final = 0x0111
"""The status of a row whose UID the destination held before anything was sent: duplicate SOP instance (PS3.7 C.5.7)."""


class Admission(StrEnum):
    """What becomes of an instance that the source delivers."""

    EXPECTED = "expected"
    ADDED = "added"  # of the selection, but not in the plan: the source got more meanwhile
    REPEATED = "repeated"  # we own it already
    FOREIGN = "foreign"  # of another study, or of a series that nobody asked for
    CONTRADICTORY = "contradictory"  # the plan has it in another series, or other content came before


@dataclass(frozen=True, slots=True)
class _Scope:
    study_instance_uid: str
    series_instance_uids: frozenset[str] | None

    def has(self, instance: Instance) -> bool:
        return instance.study_instance_uid == self.study_instance_uid and (
            self.series_instance_uids is None or instance.series_instance_uid in self.series_instance_uids
        )


class Roster:
    """Thread-safe. `record` is called with each new state of an instance, in order, under the roster's lock."""

    def __init__(
        self,
        study_instance_uid: str,
        series_instance_uids: Iterable[str] | None,
        destination: str,
        record: Record,
    ) -> None:
        self._scope = _Scope(
            study_instance_uid, None if series_instance_uids is None else frozenset(series_instance_uids)
        )
        self._destination = destination
        self._record = record
        self._lock = threading.Lock()
        self._rows: dict[str, InstanceRecord] = {}
        self._held: set[str] = set()  # by the destination, before this task sent anything under that UID
        self._received: set[str] = set()  # in this attempt
        self._repeats: dict[str, list[_Content]] = {}  # of those not stored yet
        self._given: dict[str, _Content] = {}  # of those that were re-encoded for the destination
        self._announced = 0
        self._bytes_received = 0
        self._bytes_stored = 0
        self._faults: dict[str, Fault] = {}  # with the cures that rows don't keep
        self._warnings: list[Fault] = []
        self._roads: dict[str, None] = {}  # by which it was fetched, in the order of their use
        self._store_roads: dict[str, None] = {}
        self._stored_by: dict[str, str] = {}  # of those stored in this attempt
        self._treatments: dict[str, str] = {}  # what was done in this attempt, by digest
        self._held_back: dict[str, InstanceRecord] = {}  # as they will be once the destination has sealed them
        self._lied: set[str] = set()  # roads by which something was acknowledged that is not there

    # --- the plan ---

    def restore(self, known: Iterable[InstanceRecord]) -> None:
        """Takes over what earlier attempts left; faults and warnings of what is at the destination stand."""
        with self._lock:
            self._rows = {row.sop_instance_uid: row for row in known}
            self._held = {uid for uid, row in self._rows.items() if row.dimse_status == HELD_BEFORE}
            arrived = [row for row in self._rows.values() if row.state in AT_DESTINATION]
            self._faults = {
                row.sop_instance_uid: _remembered(row, row.fault_code, row.fault_message or "An earlier fault.")
                for row in arrived
                if row.fault_code is not None
            }
            self._warnings = [
                self._held_before(row.sop_instance_uid)
                if row.sop_instance_uid in self._held
                else _remembered(row, FaultCode.STORED_WITH_WARNING, "The destination stored it with a warning.")
                for row in arrived
                if row.fault_code is None and row.dimse_status is not None
            ]

    def expect(self, listed: Iterable[InstanceRecord], held: Iterable[str] = ()) -> None:
        """Takes over what the source lists; what an earlier attempt did not bring to the destination starts afresh.

        A row that the source no longer lists stays: it was announced once and must not vanish quietly.
        `held` names what the destination has under UIDs of which no attempt has sent anything yet.
        """
        with self._lock:
            self._held.update(held)
            fresh = {row.sop_instance_uid: row for row in listed}
            for uid, row in self._rows.items():
                if row.state not in DONE_WITH and uid not in fresh:
                    fresh[uid] = _afresh(row)
            for uid, row in fresh.items():
                if uid not in self._rows or self._rows[uid].state not in DONE_WITH:
                    self._put(row)

    def start_over(self) -> bool:
        """For a destination that makes a whole anew: what is there already counts for nothing. False if nothing is."""
        with self._lock:
            there = [row for row in self._rows.values() if row.state in AT_DESTINATION]
            self._warnings = []
            for row in there:
                self._faults.pop(row.sop_instance_uid, None)
                self._put(_afresh(row))
            return bool(there)

    # --- what the source delivers ---

    def admit(self, instance: Instance) -> Admission:
        """Decides on a delivered instance and, if it is wanted, notes that all of its bytes are here."""
        if not self._scope.has(instance):
            return Admission.FOREIGN
        with self._lock:
            row = self._rows.get(instance.sop_instance_uid)
            if row is not None and row.series_instance_uid != instance.series_instance_uid:
                return Admission.CONTRADICTORY
            if row is not None and row.fault_code is FaultCode.INSTANCE_CONFLICT:
                return Admission.CONTRADICTORY
            if instance.sop_instance_uid in self._received or (row is not None and row.state in DONE_WITH):
                return Admission.REPEATED
            self._received.add(instance.sop_instance_uid)
            self._bytes_received += instance.size
            self._put(
                InstanceRecord(
                    sop_instance_uid=instance.sop_instance_uid,
                    series_instance_uid=instance.series_instance_uid,
                    sop_class_uid=instance.sop_class_uid,
                    state=InstanceState.RECEIVED,
                    transfer_syntax_uid=instance.transfer_syntax_uid,
                    size=instance.size,
                )
            )
            return Admission.ADDED if row is None else Admission.EXPECTED

    def arrived_now(self, sop_instance_uid: str) -> bool:
        """Whether it was received in this attempt, so that a repeat can be compared with it."""
        with self._lock:
            return sop_instance_uid in self._received

    def repeated(self, sop_instance_uid: str, transfer_syntax_uid: str, sha256: str) -> bool:
        """Notes a second delivery as it would reach the destination; False when it contradicts the first.

        In another transfer syntax the same content has other bytes: that says nothing.
        """
        with self._lock:
            row = self._held_back.get(sop_instance_uid) or self._rows[sop_instance_uid]
            if row.sha256 is None:
                self._repeats.setdefault(sop_instance_uid, []).append((transfer_syntax_uid, sha256))
                return True
            known = self._given.get(sop_instance_uid, (row.transfer_syntax_uid, row.sha256))
            return known[0] != transfer_syntax_uid or known[1] == sha256

    # --- what is done to it on the way ---

    def treated(self, sop_instance_uid: str, digest: str) -> None:
        """Notes what was done to it, for the rows that follow."""
        with self._lock:
            self._treatments[sop_instance_uid] = digest

    def leave_out(self, sop_instance_uid: str) -> None:
        """The profile says that it goes no further: it is not expected to arrive."""
        with self._lock:
            row = self._rows[sop_instance_uid]
            self._put(_afresh(row).model_copy(update={"state": InstanceState.LEFT_OUT}))

    def heard(self, wanted: Wanted, announced: int) -> None:
        """So many instances the source spoke of when it was asked for this; with the task's others, listed or not.

        Of names it can only speak of these.
        """
        if wanted.sop_instance_uids is not None:
            return
        with self._lock:
            if wanted.series_instance_uid is not None:
                announced += sum(row.series_instance_uid != wanted.series_instance_uid for row in self._rows.values())
            self._announced = max(self._announced, announced)

    def came_by(self, road: str) -> None:
        """One road, or several with a comma between."""
        with self._lock:
            self._roads |= dict.fromkeys(road.split(", "))

    # --- what the destination says ---

    def stored(self, stored: Stored) -> bool:
        """Notes the acknowledgement; False when a repeat that came meanwhile contradicts what was stored."""
        with self._lock:
            self._bytes_stored += stored.size
            if stored.road:
                self._store_roads[stored.road] = None
                self._stored_by[stored.sop_instance_uid] = stored.road
            if stored.warning is not None:
                self._warnings.append(stored.warning)
            if stored.sent_as in self._held:  # not listed by the source before, so that nobody knew whose name it is
                self._held.add(stored.sop_instance_uid)
            if stored.sop_instance_uid in self._held:
                self._warnings.append(self._held_before(stored.sop_instance_uid))
            row = InstanceRecord(
                sop_instance_uid=stored.sop_instance_uid,
                series_instance_uid=stored.series_instance_uid,
                sop_class_uid=stored.sop_class_uid,
                state=InstanceState.STORED,
                transfer_syntax_uid=stored.transfer_syntax_uid,
                size=stored.size,
                sha256=stored.sha256,
                location=stored.location,
                dimse_status=stored.warning.status if stored.warning else None,
                sent_as=stored.sent_as,
            )
            if stored.held_back:
                self._held_back[stored.sop_instance_uid] = row
            else:
                self._put(row)
            if stored.given is not None:
                self._given[stored.sop_instance_uid] = stored.given
            known = stored.given or (stored.transfer_syntax_uid, stored.sha256)
            repeats = self._repeats.pop(stored.sop_instance_uid, [])
            return all(syntax != known[0] or sha256 == known[1] for syntax, sha256 in repeats)

    def moved(self, sop_instance_uid: str, road: str) -> None:
        """The destination lists it after the source's final word that it had sent it there; no byte came by us."""
        with self._lock:
            row = self._rows[sop_instance_uid]
            self._roads[road] = self._store_roads[road] = None
            if sop_instance_uid in self._held:
                self._warnings.append(self._held_before(sop_instance_uid))
            self._put(row.model_copy(update={"state": InstanceState.STORED}))

    def sealed(self) -> None:
        """The destination shows now what it held back."""
        with self._lock:
            for row in self._held_back.values():
                self._put(row)
            self._held_back = {}

    def verified(self, sop_instance_uid: str) -> None:
        """The destination, asked again, has it. A row with a fault is not proven by that."""
        with self._lock:
            row = self._rows[sop_instance_uid]
            if row.fault_code is None:
                self._put(row.model_copy(update={"state": InstanceState.VERIFIED}))

    def unproven(self, sop_instance_uid: str, fault: Fault) -> None:
        """The destination acknowledged it and does not have it: back to the start, for the next attempt."""
        with self._lock:
            if (road := self._stored_by.get(sop_instance_uid)) is not None:
                self._lied.add(road)
            self._faults[sop_instance_uid] = fault
            self._put(_marked(_afresh(self._rows[sop_instance_uid]), fault))

    def fail(self, sop_instance_uid: str, fault: Fault) -> None:
        """Notes why an instance goes no further; its last proven step stands."""
        with self._lock:
            self._faults[sop_instance_uid] = fault
            self._held_back.pop(sop_instance_uid, None)
            self._put(_marked(self._rows[sop_instance_uid], fault))

    # --- what is known now ---

    def rows(self) -> list[InstanceRecord]:
        with self._lock:
            return list(self._rows.values())

    def rows_once_sealed(self) -> list[InstanceRecord]:
        """As they would be if the destination sealed now."""
        with self._lock:
            return [self._held_back.get(uid, row) for uid, row in self._rows.items()]

    def awaiting_proof(self) -> list[InstanceRecord]:
        """All that is at the destination, as far as anybody knows: what an earlier attempt proved may be gone since."""
        with self._lock:
            for uid, row in self._rows.items():
                if row.state is InstanceState.VERIFIED:
                    self._rows[uid] = row.model_copy(update={"state": InstanceState.STORED})
            return [row for row in self._rows.values() if row.state is InstanceState.STORED]

    def unseen(self) -> list[InstanceRecord]:
        """Expected, not at the destination, and not delivered in this attempt: worth asking the source again."""
        with self._lock:
            return [
                row
                for row in self._rows.values()
                if row.state not in DONE_WITH and row.fault_code is None and row.sop_instance_uid not in self._received
            ]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What stands against single instances."""
        with self._lock:
            return tuple(self._faults.values())

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The destination's warnings so far, at most 20."""
        with self._lock:
            return tuple(self._warnings[:20])

    @property
    def lied(self) -> frozenset[str]:
        """Roads by which the destination acknowledged something that it does not have."""
        with self._lock:
            return frozenset(self._lied)

    def progress(self) -> Progress:
        with self._lock:
            states = [row.state for row in self._rows.values() if row.state is not InstanceState.LEFT_OUT]
            verified = states.count(InstanceState.VERIFIED)
            stored = verified + states.count(InstanceState.STORED)
            return Progress(
                expected=len(states),
                received=stored + states.count(InstanceState.RECEIVED),
                stored=stored,
                verified=verified,
                announced=self._announced,
                bytes_received=self._bytes_received,
                bytes_stored=self._bytes_stored,
                road=", ".join(self._roads) or None,
                store_road=", ".join(self._store_roads) or None,
            )

    def _put(self, row: InstanceRecord) -> None:
        """Every row of an instance that was held before says so, whatever else became of it: no attempt forgets it."""
        if row.sop_instance_uid in self._held:
            row = row.model_copy(update={"dimse_status": HELD_BEFORE})
        if (digest := self._treatments.get(row.sop_instance_uid)) is not None:
            row = row.model_copy(update={"treatment": digest})
        self._rows[row.sop_instance_uid] = row
        self._record(row)

    def _held_before(self, sop_instance_uid: str) -> Fault:
        return Fault(
            code=FaultCode.STORED_WITH_WARNING,
            message="The node held an instance with this UID before; whether it took the new one cannot be told.",
            cure="Compare it at the node, or delete it there and run a new job.",
            node=self._destination,
            sop_instance_uid=sop_instance_uid,
            status=HELD_BEFORE,
        )


def _afresh(row: InstanceRecord) -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid,
        state=InstanceState.EXPECTED,
    )


def _remembered(row: InstanceRecord, code: FaultCode, message: str) -> Fault:
    return Fault(code=code, message=message, sop_instance_uid=row.sop_instance_uid, status=row.dimse_status)


def _marked(row: InstanceRecord, fault: Fault) -> InstanceRecord:
    return row.model_copy(
        update={"fault_code": fault.code, "fault_message": fault.message, "dimse_status": fault.status}
    )
