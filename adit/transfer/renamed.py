"""A destination that knows everything by other UIDs, as seen by those who know only the originals'.

Made by `deidentification`. So nobody else in this room needs to know that there are two names for a thing: what is
sent goes under the new ones, and what the node says of them is told of the originals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final

from adit.dicom.node import (
    Answer,
    BatchChannel,
    Deliver,
    FetchReport,
    Instance,
    Node,
    Probe,
    Proof,
    Query,
    StoreChannel,
    Stored,
    Wanted,
)
from adit.model.outcome import Fault, TransferFault

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class Names:
    """Originals' UIDs and those at the destination. Back it knows only those that it was asked for."""

    def __init__(self, mapped: Callable[[str], str]) -> None:
        self._mapped = mapped
        self._originals: dict[str, str] = {}

    def sent_as(self, original: str) -> str:
        new = self._mapped(original)
        self._originals[new] = original
        return new

    def learn(self, originals: Iterable[str]) -> None:
        for each in originals:
            self.sent_as(each)

    def original(self, sent_as: str) -> str:
        """The UID itself where nobody asked for its new name."""
        return self._originals.get(sent_as, sent_as)

    def told(self, fault: Fault) -> Fault:
        """The same of the original."""
        uid = fault.sop_instance_uid
        return fault if uid is None else fault.model_copy(update={"sop_instance_uid": self.original(uid)})


class RenamedNode:
    """Implements `adit.dicom.node.Node`, as a destination."""

    def __init__(self, node: Node, names: Names) -> None:
        self._node = node
        self._names = names

    @property
    def name(self) -> str:
        return self._node.name

    @property
    def can_verify(self) -> bool:
        return self._node.can_verify

    @property
    def verifies_content(self) -> bool:
        return self._node.verifies_content

    def find(self, query: Query) -> Iterator[Answer]:
        keys = {key: self._names.sent_as(value) if key in _UIDS else value for key, value in query.keys.items()}
        for answer in self._node.find(replace(query, keys=keys)):
            yield _RenamedAnswer(answer, self._names)

    def doubts(self) -> tuple[Fault, ...]:
        return self._node.doubts()

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        raise NotImplementedError("only a destination knows instances by other names")

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        channel = self._node.open_store(sop_class_uids)
        if isinstance(channel, BatchChannel):
            return _RenamedBatchChannel(channel, self._names)
        return _RenamedChannel(channel, self._names)

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        names = self._names
        renamed = [
            replace(
                one,
                sop_instance_uid=names.sent_as(one.sop_instance_uid),
                series_instance_uid=names.sent_as(one.series_instance_uid),
            )
            for one in stored
        ]
        for proof in self._node.verify(names.sent_as(study_instance_uid), renamed):
            fault = None if proof.fault is None else names.told(proof.fault)
            yield Proof(names.original(proof.sop_instance_uid), proof.present, fault)

    def probe(self) -> Probe:
        return self._node.probe()

    def interrupt(self) -> None:
        self._node.interrupt()


class _RenamedChannel:
    """Implements `adit.dicom.node.StoreChannel`."""

    def __init__(self, channel: StoreChannel, names: Names) -> None:
        self._channel = channel
        self._names = names

    def store(self, instance: Instance) -> Stored:
        try:
            return _told(self._channel.store(_RenamedInstance.of(instance, self._names)), self._names)
        except TransferFault as error:
            raise TransferFault(self._names.told(error.fault)) from error

    def close(self) -> None:
        self._channel.close()


class _RenamedBatchChannel:
    """Implements `adit.dicom.node.BatchChannel`."""

    def __init__(self, channel: BatchChannel, names: Names) -> None:
        self._channel = channel
        self._names = names
        self._single = _RenamedChannel(channel, names)

    @property
    def instances_at_once(self) -> int:
        return self._channel.instances_at_once

    @property
    def bytes_at_once(self) -> int:
        return self._channel.bytes_at_once

    def store(self, instance: Instance) -> Stored:
        return self._single.store(instance)

    def store_all(self, instances: Sequence[Instance]) -> Sequence[Stored | Fault | None]:
        names = self._names
        try:
            outcomes = self._channel.store_all([_RenamedInstance.of(one, names) for one in instances])
        except TransferFault as error:
            raise TransferFault(names.told(error.fault)) from error
        return [
            _told(one, names) if isinstance(one, Stored) else one if one is None else names.told(one)
            for one in outcomes
        ]

    def close(self) -> None:
        self._channel.close()


def _told(stored: Stored, names: Names) -> Stored:
    return replace(
        stored,
        sop_instance_uid=names.original(stored.sop_instance_uid),
        series_instance_uid=names.original(stored.series_instance_uid),
        warning=None if stored.warning is None else names.told(stored.warning),
        sent_as=stored.sop_instance_uid,
    )


@dataclass(frozen=True, slots=True)
class _RenamedInstance:
    """Implements `adit.dicom.node.Instance`: treated content, under the names that stand in it."""

    treated: Instance
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @classmethod
    def of(cls, treated: Instance, names: Names) -> _RenamedInstance:
        uids = (treated.study_instance_uid, treated.series_instance_uid, treated.sop_instance_uid)
        return cls(treated, *map(names.sent_as, uids))

    @property
    def sop_class_uid(self) -> str:
        return self.treated.sop_class_uid

    @property
    def transfer_syntax_uid(self) -> str:
        return self.treated.transfer_syntax_uid

    @property
    def size(self) -> int:
        return self.treated.size

    def open(self) -> BinaryIO:
        return self.treated.open()

    def close(self) -> None:
        self.treated.close()


@dataclass(frozen=True, slots=True)
class _RenamedAnswer:
    answer: Answer
    names: Names

    def get(self, keyword: str, default: Any = None, /) -> Any:
        value = self.answer.get(keyword, default)
        return self.names.original(str(value)) if keyword in _UIDS and value else value

    def __contains__(self, keyword: Any, /) -> bool:
        return keyword in self.answer
