"""Decisions in the form in which the byte walk wants them: by the first bytes of an element, kept for the next one.

Belongs to a policy for one SOP class, so it is shared by all instances of a study. A `Level` is a place in the tree
of sequences: the decisions below 00400275 may be others than at the top.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from adit.deid.decision import Action, Decision
from adit.deid.engine.content_mode import Content, decided
from adit.deid.engine.encoding import LONG_VRS, SHORT_VRS
from adit.deid.engine.scan import DEEPEST
from adit.deid.policy import ClassPolicy, Path, private_vr, vr_of
from adit.deid.quarantine import Quarantine, Reason, path_text, place_of

_REMEMBERED: Final = 20_000  # entries of a level; hostile files may have any number of tags
_LEVELS: Final = 5_000


class Step(IntEnum):
    """What the walk does with an element."""

    KEEP = 0
    REMOVE = 1
    VALUE = 2  # a value is made of it
    SEQUENCE = 3
    CREATOR = 4  # of a private block, where some may stay
    PRIVATE = 5  # decided by its block's creator
    NOTE = 6  # kept, and its value is wanted
    PIXELS = 7
    SCRUB = 8  # kept unless an identifier of the patient stands in it
    PRIVATE_NAMES = 9  # as PRIVATE, and it may name people


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to an element: the audit's record, shared by all instances that it was done to."""

    path: Path
    action: Action
    rule: str

    @property
    def text(self) -> str:
        return f"{path_text(self.path)} {self.action} {self.rule}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An element of one tag and VR at one place."""

    tag: int
    vr: str  # as its value is to be read; empty when nobody knows
    encoded: bytes  # as it stands in the bytes; empty when implicit
    decision: Decision
    change: Change
    harvest: bool  # its value names someone


Found = tuple[int, int, bool, Entry]
"""Step, tag, whether the length has four bytes, and the rest."""

_HARVESTED: Final = frozenset(
    {
        0x00080050,  # AccessionNumber
        0x00100010,  # PatientName
        0x00100020,  # PatientID
        0x00100030,  # PatientBirthDate
        0x00101000,  # OtherPatientIDs
        0x00101001,  # OtherPatientNames
        0x00101005,  # PatientBirthName
        0x00101040,  # PatientAddress
        0x00101060,  # PatientMotherBirthName
        0x00102154,  # PatientTelephoneNumbers
        0x00380010,  # AdmissionID
    }
)
_PRIVATE: Final = Decision(Action.REMOVE, "private")
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


class Level:
    """The decisions at one place. `table` has those that were made already; `entry` makes the others."""

    def __init__(
        self,
        decisions: ClassPolicy,
        path: Path,
        *,
        implicit: bool,
        content: Content,
        notes: frozenset[int],
        scrubs: bool,
    ) -> None:
        self.table: dict[bytes, Found] = {}
        self.path = path
        self.implicit = implicit
        self.content = content
        self._decisions = decisions
        self._notes = notes
        self._scrubs = scrubs
        self._privates: dict[tuple[bytes, str], Found] = {}
        self._below: dict[tuple[int, bool, Content], Level] = {}

    def below(self, tag: int, *, implicit: bool, content: Content = Content.NONE) -> Level:
        """The level inside this sequence. Raises Quarantine when it is nested too deep."""
        found = self._below.get((tag, implicit, content))
        if found is None:
            path = (*self.path, tag)
            if len(path) > DEEPEST:
                raise Quarantine(Reason.NESTED_TOO_DEEP, place_of(path), f"sequences are nested deeper than {DEEPEST}")
            if len(self._below) >= _LEVELS:
                self._below.clear()
            found = Level(
                self._decisions, path, implicit=implicit, content=content, notes=frozenset(), scrubs=self._scrubs
            )
            self._below[tag, implicit, content] = found
        return found

    @property
    def decisions(self) -> ClassPolicy:
        return self._decisions

    def entry(self, head: bytes) -> Found:
        """For an element that begins with these bytes: its tag, and its VR where it is explicit. Raises Quarantine."""
        group, number = struct.unpack_from("<HH", head)
        tag = group << 16 | number
        if group == 0xFFFE:
            raise Quarantine(Reason.MALFORMED, place_of(self.path), "it has a delimiter where none belongs")
        found = self._decided(tag, self._vr(tag, head))
        if len(self.table) >= _REMEMBERED:
            self.table.clear()
        self.table[head] = found
        return found

    def private(self, tag: int, encoded: bytes, creator: str) -> Found:
        """For a private element whose block is this creator's."""
        # the block's number does not count
        key = struct.pack("<I", tag & 0xFFFF00FF) + encoded, creator
        found = self._privates.get(key)
        if found is None or found[1] != tag:
            vr = encoded.decode("ascii")
            decision = self._decisions.decide(self.path, tag, vr, creator)
            read = vr if vr not in ("", "UN") else private_vr(tag, creator) or "UN"
            found = self._found(_step_of(decision), tag, read, encoded, decision)
            if len(self._privates) >= _REMEMBERED:
                self._privates.clear()
            self._privates[key] = found
        return found

    def _vr(self, tag: int, head: bytes) -> bytes:
        if self.implicit:
            return b""
        vr = head[4:6]
        if vr not in LONG_VRS and vr not in SHORT_VRS:
            raise Quarantine(Reason.MALFORMED, place_of((*self.path, tag)), "it has no value representation")
        return vr

    def _decided(self, tag: int, encoded: bytes) -> Found:
        vr = encoded.decode("ascii")
        if tag >> 16 & 1:
            if not self._decisions.keeps_private or tag & 0xFFFF < 0x10:
                return self._found(Step.REMOVE, tag, vr, encoded, _PRIVATE)
            if tag & 0xFFFF < 0x100:
                return self._found(Step.CREATOR, tag, vr, encoded, _PRIVATE)
            step = Step.PRIVATE_NAMES if vr in ("PN", "SQ") else Step.PRIVATE
            return self._found(step, tag, vr, encoded, _PRIVATE)
        decision = self._decisions.decide(self.path, tag, vr)
        if self.content:
            decision = decided(self.content, tag, decision)
        read = vr if vr not in ("", "UN") else vr_of(tag) or "UN"
        if tag in _PIXELS and not self.path:
            return self._found(Step.PIXELS, tag, read, encoded, decision)
        return self._found(_step_of(decision), tag, read, encoded, decision)

    def _found(self, step: Step, tag: int, vr: str, encoded: bytes, decision: Decision) -> Found:
        long = encoded in LONG_VRS
        change = Change((*self.path, tag), decision.action, decision.rule)
        harvest = vr == "PN" or tag in _HARVESTED
        if step is Step.REMOVE and (harvest or vr == "SQ"):  # a sequence that goes may name people, too
            step = Step.VALUE
        if step is Step.KEEP and self._scrubs and self._decisions.scrubs(decision, tag):
            step = Step.SCRUB
        if step is Step.KEEP and tag in self._notes:
            step = Step.NOTE
        if tag in self._notes and step is Step.REMOVE:
            step = Step.VALUE
        return (int(step), tag, long, Entry(tag, vr, encoded, decision, change, harvest))


def _step_of(decision: Decision) -> Step:
    match decision.action:
        case Action.KEEP:
            return Step.KEEP
        case Action.REMOVE:
            return Step.REMOVE
        case Action.SEQUENCE | Action.CONTENT:
            return Step.SEQUENCE
        case _:
            return Step.VALUE
