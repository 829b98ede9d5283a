"""A node in memory that implements the port `adit.dicom.node.Node` and misbehaves as its fields say."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from pydicom import Dataset

from adit.dicom.node import (
    Deliver,
    FetchReport,
    Instance,
    Level,
    Probe,
    Proof,
    Query,
    Stored,
    Wanted,
)
from adit.model.outcome import Fault, FaultCode, TransferFault

STUDY = "1.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def element(content: bytes, patient_id: bytes = b"PAT ") -> bytes:
    """A data set of two elements: the PatientID, a MemoryNode's unless told otherwise, and the content."""
    owner = b"\x10\0\x20\0LO" + len(patient_id).to_bytes(2, "little") + patient_id
    return owner + b"\x11\0\x10\x10OB\0\0" + len(content).to_bytes(4, "little") + content


class MemoryInstance:
    """Bytes with a name; counts how often it was closed."""

    def __init__(
        self, sop: str, series: str = "1.2.3.1", content: bytes = b"", study: str = STUDY, sop_class: str = CT
    ) -> None:
        self.sop_instance_uid = sop
        self.series_instance_uid = series
        self.study_instance_uid = study
        self.sop_class_uid = sop_class
        self.transfer_syntax_uid = EXPLICIT
        self.content = content or element(sop.encode())
        self.size = len(self.content)
        self.closed = 0

    def open(self) -> BinaryIO:
        return BytesIO(self.content)

    def close(self) -> None:
        self.closed += 1

    def again(self) -> MemoryInstance:
        made = MemoryInstance(
            self.sop_instance_uid, self.series_instance_uid, self.content, self.study_instance_uid, self.sop_class_uid
        )
        made.transfer_syntax_uid = self.transfer_syntax_uid
        return made


def fault(code: FaultCode, sop: str | None = None, status: int | None = None) -> TransferFault:
    return TransferFault(Fault(code=code, message="scripted", node="scripted", sop_instance_uid=sop, status=status))


@dataclass
class MemoryNode:
    """Holds instances of one study. `patient_id` is the one under which it keeps the study."""

    name: str = "memory"
    holds: dict[str, MemoryInstance] = field(default_factory=dict)
    patient_id: str = "PAT"
    studies: Sequence[Dataset] | None = None  # answers at study level, instead of the truth
    announced: int | None = None  # NumberOfStudyRelatedInstances
    series_announced: int | None = None
    unlisted: Collection[str] = ()
    queries: list[Query] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    on_fetch: Callable[[MemoryNode, Wanted, Deliver], FetchReport] | None = None
    on_store: Callable[[MemoryNode, Instance], None] | None = None
    on_open: Callable[[int], None] | None = None
    on_interrupt: Callable[[], None] | None = None
    lost: set[str] = field(default_factory=set)
    can_verify: bool = True
    doubted: tuple[Fault, ...] = ()
    overwritten: Mapping[str, object] = field(default_factory=dict)  # in answers below the study, by keyword
    verifies_content: bool = False
    opened: int = 0
    log: list[str] = field(default_factory=list)  # SOP Instance UIDs acknowledged
    interrupted: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, query: Query) -> Iterator[Dataset]:
        self.queries.append(query)
        if query.level is Level.STUDY:
            yield from self._find_study(query)
        elif query.keys.get("PatientID", self.patient_id) != self.patient_id:
            return
        elif query.level is Level.SERIES:
            for series in dict.fromkeys(item.series_instance_uid for item in self.holds.values()):
                told = {"SeriesInstanceUID": series, "NumberOfSeriesRelatedInstances": self.series_announced}
                yield answer(**{**told, **self._overwritten(told)})
        else:
            for item in self.holds.values():
                listed = item.sop_instance_uid not in self.unlisted
                if listed and item.series_instance_uid == query.keys["SeriesInstanceUID"]:
                    told = {"SOPInstanceUID": item.sop_instance_uid, "SOPClassUID": item.sop_class_uid}
                    yield answer(**{**told, **self._overwritten(told)})

    def _overwritten(self, told: Mapping[str, object]) -> dict[str, object]:
        return {keyword: value for keyword, value in self.overwritten.items() if keyword in told}

    def _find_study(self, query: Query) -> Iterator[Dataset]:
        studies = self.studies
        if studies is None:
            studies = [answer(PatientID=self.patient_id, NumberOfStudyRelatedInstances=self.announced)]
        for study in studies:
            if query.keys.get("PatientID") in (None, study.PatientID):
                yield study

    def doubts(self) -> tuple[Fault, ...]:
        return self.doubted

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        self.wanted.append(wanted)
        if self.on_fetch is not None:
            return self.on_fetch(self, wanted, deliver)
        return self.send(wanted, deliver)

    def chosen(self, wanted: Wanted) -> list[MemoryInstance]:
        return [
            item
            for item in self.holds.values()
            if wanted.series_instance_uid in (None, item.series_instance_uid)
            and (wanted.sop_instance_uids is None or item.sop_instance_uid in wanted.sop_instance_uids)
        ]

    def send(self, wanted: Wanted, deliver: Deliver, *, faults: tuple[Fault, ...] = ()) -> FetchReport:
        return send(self.chosen(wanted), deliver, faults=faults)

    def open_store(self, sop_class_uids: Collection[str]) -> MemoryStore:
        with self.lock:
            self.opened += 1
            number = self.opened
        if self.on_open is not None:
            self.on_open(number)
        return MemoryStore(self)

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        for one in stored:
            yield Proof(one.sop_instance_uid, one.sop_instance_uid in self.holds)

    def probe(self) -> Probe:
        return Probe(True)

    def interrupt(self) -> None:
        self.interrupted.set()
        if self.on_interrupt is not None:
            self.on_interrupt()


class MemoryStore:
    def __init__(self, node: MemoryNode) -> None:
        self._node = node

    def store(self, instance: Instance) -> Stored:
        if self._node.on_store is not None:
            self._node.on_store(self._node, instance)
        with instance.open() as reader:
            content = reader.read()
        uid = instance.sop_instance_uid
        with self._node.lock:
            self._node.log.append(uid)
            if uid not in self._node.lost:
                self._node.holds[uid] = MemoryInstance(
                    uid, instance.series_instance_uid, content, sop_class=instance.sop_class_uid
                )
        return Stored(
            uid,
            instance.series_instance_uid,
            instance.sop_class_uid,
            instance.transfer_syntax_uid,
            len(content),
            hashlib.sha256(content).hexdigest(),
        )

    def close(self) -> None:
        pass


def send(
    items: Sequence[MemoryInstance], deliver: Deliver, *, faults: tuple[Fault, ...] = (), road: str = "MEMORY"
) -> FetchReport:
    """Delivers each and counts as an honest source does."""
    done = failed = 0
    for item in items:
        try:
            deliver(item.again())
            done += 1
        except TransferFault as refusal:
            if refusal.fault.sop_instance_uid is None:
                raise
            failed += 1
    return FetchReport(road, done, failed, 0, faults=faults)


def answer(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def study_of(*sops: str, series: str = "1.2.3.1") -> dict[str, MemoryInstance]:
    return {sop: MemoryInstance(sop, series) for sop in sops}
