"""The interface of every DICOM node, and the values that cross it.

Implemented by `dimse`, `folder` and `s3`; called by `adit.transfer` and the command line. Everything that
goes wrong is raised as `TransferFault`, naming the node, the instance where there is one, and the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Final, Protocol, runtime_checkable

from adit.model.outcome import Fault, FaultCode


class Level(StrEnum):
    """Query/Retrieve levels (PS3.4 C.3)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for: matching keys by DICOM keyword, and keywords to return besides.

    Values use DICOM's matching (PS3.4 C.2.2.2): `*` and `?`, ranges with `-`, lists with a
    backslash. `limit` counts answers after all filters.
    """

    level: Level
    keys: Mapping[str, str] = field(default_factory=dict)
    returning: tuple[str, ...] = ()
    limit: int | None = None


CLASSES_AT_ONCE: Final = 4
"""So many SOP classes can be fetched at once in every transfer syntax: 128 contexts an association (PS3.8 9.3.2.2)
for about 30 syntaxes. With more a source that transcodes may do so, because some syntaxes share a context."""


def _unheard(announced: int) -> None:
    """Nobody asks how many there are."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch: a study, one of its series, or named instances of a series.

    `heard` is told how many instances the source speaks of, while it speaks: its word counts though it breaks off.
    """

    study_instance_uid: str
    patient_id: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uids: tuple[str, ...] | None = None
    sop_class_uids: frozenset[str] = frozenset()  # what the plan announced; empty if unknown
    expected: frozenset[str] = frozenset()  # SOP Instance UIDs that the plan lists of it; empty if unknown
    heard: Callable[[int], None] = field(default=_unheard, compare=False)


class Answer(Protocol):
    """One match of a query: values by DICOM keyword. A pydicom data set is one, and so is less."""

    def get(self, keyword: str, default: Any = None, /) -> Any:
        """The value: a text or a number, several in a list; empty or None where there is none."""
        ...

    def __contains__(self, keyword: Any, /) -> bool: ...


class Instance(Protocol):
    """One received instance: its identity and its encoded data set (no file meta), never decoded.

    Lives in memory when small, in a spool file when big; `close` frees either and may be called twice.
    """

    @property
    def study_instance_uid(self) -> str: ...
    @property
    def series_instance_uid(self) -> str: ...
    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def transfer_syntax_uid(self) -> str: ...
    @property
    def size(self) -> int:
        """Length of the encoded data set in bytes."""
        ...

    def open(self) -> BinaryIO:
        """A fresh reader at the first byte of the encoded data set."""
        ...

    def close(self) -> None: ...


DIRECT: Final = "C-MOVE direct"
"""The road past us: the source sends to the destination itself."""

Deliver = Callable[[Instance], None]
"""Takes an instance over; blocks while there is no room. Raises TransferFault to refuse it, which
makes the node tell the source so (0xA700) and go on, or stop when the fault names no instance."""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """The source's own final word on a fetch, as it stands in the last response (PS3.4 C.4.3.1.4)."""

    road: str
    completed: int
    failed: int
    warning: int
    failed_sop_instance_uids: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()  # what the final status means; empty when it is plain success
    announced: int = 0  # the highest number of sub-operations that the source spoke of; 0 if of none
    left: tuple[Fault, ...] = ()  # what was wrong with roads that were left for another, which went on
    cut: bool = False  # it broke off, so that nobody said that this was all


@dataclass(frozen=True, slots=True)
class Stored:
    """The destination's acknowledgement of one instance."""

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str  # as delivered
    size: int  # bytes of the encoded data set as delivered
    sha256: str  # hex, of the encoded data set as delivered
    location: str | None = None
    warning: Fault | None = None  # a DIMSE warning status 0xB000, 0xB006, 0xB007
    road: str = ""  # by which it went, such as C-STORE
    sent_as: str | None = None  # its SOP Instance UID at the destination, where it left under another name
    given: tuple[str, str] | None = None  # transfer syntax and SHA-256 before it was re-encoded for the destination
    held_back: bool = False  # it is there when the node has been told to seal, and not before


class StoreChannel(Protocol):
    """One road to the destination (one association, say). Used by one thread at a time."""

    def store(self, instance: Instance) -> Stored:
        """Delivers one instance and waits for the acknowledgement.

        Raises TransferFault: with `sop_instance_uid` set, this instance was refused and the channel
        can go on; without, the channel is dead.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class BatchChannel(StoreChannel, Protocol):
    """A channel that takes several instances at once where several are waiting."""

    @property
    def instances_at_once(self) -> int: ...
    @property
    def bytes_at_once(self) -> int: ...

    def store_all(self, instances: Sequence[Instance]) -> Sequence[Stored | Fault | None]:
        """One outcome for each, in their order: the acknowledgement, or why it was refused; None to send it alone.

        Raises TransferFault: with `sop_instance_uid` set, that one cannot be sent and nothing is known of the
        others; without, the channel is dead, or takes only one at a time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """What the destination says, asked again, about one instance that it acknowledged."""

    sop_instance_uid: str
    present: bool
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a node answered when it was asked what it can do."""

    reachable: bool
    services: tuple[str, ...] = ()  # by adit.model.dicom_node.Service's names, or "Read", "Write" of a folder or bucket
    detail: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None


class Node(Protocol):
    """A place to find studies, fetch them from, send them to. Calls may come from several threads."""

    @property
    def name(self) -> str: ...

    def find(self, query: Query) -> Iterator[Answer]:
        """Answers one by one; each is a match by all of the query's keys, whatever the peer filtered."""
        ...

    def doubts(self) -> tuple[Fault, ...]:
        """What the last `find` had to leave out because it could not be judged; none of a peer, which answers for all.

        A warning of FETCHED_WITH_WARNING leaves its answers usable; any other fault does not.
        """
        ...

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        """Hands every instance to `deliver` and returns the source's final word, good or bad."""
        ...

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        """A new channel; `sop_class_uids` are the classes to be ready for (more may follow)."""
        ...

    @property
    def can_verify(self) -> bool:
        """Whether the node can be asked what it holds."""
        ...

    @property
    def verifies_content(self) -> bool:
        """Whether `verify` compares the content; otherwise presence of the UID is all that it proves."""
        ...

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        """One proof for each of `stored`, from the node's own answer (C-FIND, or the file read again)."""
        ...

    def probe(self) -> Probe: ...

    def interrupt(self) -> None:
        """Ends every call in progress soon, with TransferFault(INTERRUPTED); thread-safe, for good."""
        ...


@runtime_checkable
class Wayfarer(Protocol):
    """A node that goes by one of several roads."""

    def roads_met(self) -> Mapping[str, FaultCode | None]:
        """The roads that were tried so far, such as C-GET, and what was wrong with each the last time; or None."""
        ...

    def try_last(self, roads: Collection[str]) -> None:
        """Before anything is tried: these failed others lately, or are said not to be offered."""
        ...


@runtime_checkable
class Sealing(Protocol):
    """A destination that shows what it is given only as a whole: all of it is `held_back` until it is sealed."""

    def seal(self) -> None:
        """On return all that was stored is there, durably. Raises TransferFault: then nothing of it is."""
        ...

    def discard(self) -> None:
        """Nothing of it will be shown. Harmless after `seal`."""
        ...


@runtime_checkable
class Mover(Protocol):
    """A source that can be asked to send to another node of its own kind."""

    @property
    def name(self) -> str: ...

    def move_to(self, wanted: Wanted, ae_title: str, arriving: Callable[[], bool]) -> FetchReport:
        """Its final word, good or bad, which proves nothing; whole transfers may pass before it.

        `arriving` is asked when the source has been silent for long: whether the destination got more meanwhile.
        Raises TransferFault when there is no final word.
        """
        ...
