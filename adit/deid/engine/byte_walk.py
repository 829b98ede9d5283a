"""Walks a little endian data set element by element and says which of its bytes stay, which go, and what comes instead.

Called by `instance`. Values that stay are never copied: the result is made of ranges of the original and new bytes.
The loop in `_walk` runs once for each element of each instance that we ever send; it is written for speed, and
everything that is not "keep" or "remove" is handed on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from adit.deid.decision import Action
from adit.deid.engine import scan
from adit.deid.engine.content import concept_of, has_private_code, unit_of
from adit.deid.engine.content_mode import Content, mode_below, mode_of
from adit.deid.engine.dummies import dummy_sequence
from adit.deid.engine.encoding import UNDEFINED, element, header, item_header
from adit.deid.engine.plan import Change, Entry, Level, Step
from adit.deid.engine.scan import (
    EXPLICIT,
    IMPLICIT,
    LONG,
    Buffer,
    Range,
    end_of_sequence,
    items_of,
    malformed,
)
from adit.deid.engine.trail import END_OF_TRACE, Block, Outcome, Removed, Trace, Trail
from adit.deid.engine.values import MADE_OF_TEXT, Values
from adit.deid.identifiers import Search
from adit.deid.identifying import OTHER_IDS
from adit.deid.quarantine import Quarantine, Reason, place_of

Part = Range | bytes
"""Bytes of the original from here to there, or new ones."""

_KEPT: Final = (Step.KEEP, Step.NOTE, Step.SCRUB)
_OF_FRAGMENTS: Final = (b"OB", b"OW")
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_TRAILING: Final = 0xFFFCFFFC
_NOTED_SEQUENCES: Final = frozenset({0x00186011})  # SequenceOfUltrasoundRegions
_NO_LIMIT: Final = 1 << 33
MOST_CHANGES: Final = 1_000_000


class IrregularError(Exception):
    """Not what the byte walk can rewrite, and not certainly broken: elements out of order."""


class WholeNeededError(Exception):
    """The first bytes alone, which were given, do not suffice: something else than the pixels goes beyond them."""


@dataclass(slots=True)
class Insertion:
    """An element that is written at its place among the others of the top level."""

    tag: int
    data: bytes


@dataclass(slots=True)
class ByteWalk:
    """One instance's. `notes` gets the values that others asked for, `harvest` those that name someone."""

    data: Buffer  # at least up to the pixels' value
    end: int  # of the data set, perhaps beyond those bytes
    values: Values
    search: Search | None = None  # for what kept texts must not hold, where it is known that one may
    changes: list[Change] = field(default_factory=list)
    notes: dict[int, bytes] = field(default_factory=dict)
    noted_items: dict[int, list[Range]] = field(default_factory=dict)
    harvest: list[tuple[str, bytes]] = field(default_factory=list)
    pixels: tuple[Entry, Range, Range] | None = None  # the pixel element, its whole range and its value's
    _creators: dict[int, str] = field(default_factory=dict)  # of the top level's private blocks
    _items: int = 0
    _ends: scan.Ends = field(default_factory=dict)

    def top(self, level: Level, start: int, insertions: list[Insertion], trail: Trail | None = None) -> list[Part]:
        """The data set's new parts. Raises Quarantine, IrregularError, or WholeNeededError."""
        end = min(self.end, len(self.data))
        parts: list[Part] = []
        pending = sorted(insertions, key=lambda each: each.tag, reverse=True)
        try:
            if trail is None:
                self._walk(level, start, end, parts, pending)
            else:
                self._follow(trail, level, start, end, parts, pending)
        except struct.error:
            raise malformed(level.path, "it ends within an element") from None
        if self.pixels is None and self.end > len(self.data):
            # Where the given bytes end with an element, or within zeros, nothing else shows that there is more.
            raise WholeNeededError
        parts += [each.data for each in reversed(pending)]
        return parts

    def _follow(
        self, trail: Trail, level: Level, pos: int, end: int, parts: list[Part], pending: list[Insertion]
    ) -> None:
        """Walks what is not known from the trail, and learns it."""
        data, stretches, creators = self.data, trail.stretches, self._creators
        width, read = (4, IMPLICIT) if level.implicit else (6, EXPLICIT)
        apart = tuple(each.tag for each in reversed(pending))
        walked: list[tuple[bytes, Trace, int]] = []
        last = -1
        while pos < end:
            head = data[pos : pos + width]
            found = stretches.get(head)
            if found is not None and found.first > last and found.owners.are(creators):
                while pending and found.first >= pending[-1].tag:
                    parts.append(pending.pop().data)
                if type(found) is Removed:
                    count, pos = found.skip(data, pos, end, read)
                    if count:
                        self.changes += found.changes[:count]
                        last = found.tags[count - 1]
                        continue
                elif type(found) is Block and data[pos : pos + found.size] == found.chunk:
                    self._take_over(found.outcome, parts)
                    pos += found.size
                    last = found.last
                    continue
                trail.missed(head)
            trace: Trace | None = [] if trail.learns(head) else None
            begin = pos
            _, pos, last = self._walk(level, pos, end, parts, pending, last, stretches, trace)
            if trace is None:
                trail.passed(head, pos - begin)
            elif trace:
                walked.append((head, trace, pos))
        again = _Again(self, level)
        for head, trace, stop in walked:
            trail.learn(head, trace, stop, again, apart)

    def _take_over(self, outcome: Outcome, parts: list[Part]) -> None:
        if outcome.data:
            parts.append(outcome.data)
        self.changes += outcome.changes
        self.harvest += outcome.harvest
        if outcome.notes:
            self.notes.update(outcome.notes)
        if outcome.pairs:
            self.values.pairs.update(outcome.pairs)
        if outcome.creators:
            self._creators.update(outcome.creators)

    def _walk(
        self,
        level: Level,
        pos: int,
        end: int,
        parts: list[Part],
        insertions: list[Insertion] | None = None,
        last: int = -1,
        known: Mapping[bytes, Block | Removed] | None = None,
        trace: Trace | None = None,
    ) -> tuple[bool, int, int]:
        """The elements of one data set. Whether anything changed, where it ended, and with which tag.

        Of the top level, for which `insertions` are given, up to the pixels, or to an element after the first
        that is `known`; of any other up to `end` exactly.
        """
        data, table, changes = self.data, level.table, self.changes
        head = IMPLICIT if level.implicit else EXPLICIT
        begin = run = pos
        limit = insertions[-1].tag if insertions else _NO_LIMIT
        creators = self._creators if insertions is not None else {}
        changed = False
        while pos < end:
            key, length = head(data, pos)
            found = table.get(key)
            if found is None:
                if insertions is not None and not key.strip(b"\0") and not data[pos:end].strip(b"\0"):
                    changes.append(Change((_TRAILING,), Action.REMOVE, "trailing data"))
                    if run < pos:
                        parts.append((run, pos))
                    if trace is not None:
                        trace.append((pos, b"", END_OF_TRACE))
                    return changed, end, last
                found = level.entry(key)
            step, tag, long, entry = found
            start = pos + 8
            if long:
                if length and step != 1:
                    raise IrregularError  # the reserved bytes have something in them
                length = LONG(data, start)[0]
                start += 4
            if known is not None and key in known and pos > begin:
                break
            if trace is not None:
                trace.append((pos, key, tag))
            if not last < tag < limit:
                if tag <= last:
                    if tag == last:
                        raise Quarantine(
                            Reason.DUPLICATE_ELEMENT, place_of((*level.path, tag)), "it stands there twice"
                        )
                    raise IrregularError
                if run < pos:
                    parts.append((run, pos))
                run = pos
                while insertions and tag >= insertions[-1].tag:
                    parts.append(insertions.pop().data)
                limit = insertions[-1].tag if insertions else _NO_LIMIT
            last = tag
            stop = start + length
            if stop > end or length == UNDEFINED:
                if length == UNDEFINED:
                    stop = self._end_of_undefined(level, entry, start, end)
                elif stop > self.end or (step != Step.PIXELS and self.end <= len(data)):
                    raise malformed((*level.path, tag), "it is longer than what is there")
                elif step != Step.PIXELS:
                    raise WholeNeededError
                if length == UNDEFINED and step in _KEPT and entry.encoded not in _OF_FRAGMENTS:
                    # items in what should be no sequence
                    step, entry = 1, replace(entry, change=Change(entry.change.path, Action.REMOVE, "undefined length"))
            if step == 0:
                pos = stop
                continue
            if step == 1 or (step == 5 and tag >> 8 not in creators):  # a private block that is nobody's
                if run < pos:
                    parts.append((run, pos))
                run = pos = stop
                changes.append(entry.change)
                changed = True
                if len(changes) > MOST_CHANGES:
                    raise Quarantine(Reason.TOO_MANY_CHANGES, place_of(level.path), f"more than {MOST_CHANGES}")
                continue
            instead = self._special(level, step, entry, (pos, start, stop), length == UNDEFINED, creators)
            if instead is not None:
                if run < pos:
                    parts.append((run, pos))
                parts += instead
                run = stop
                changed = True
                if len(changes) > MOST_CHANGES:
                    raise Quarantine(Reason.TOO_MANY_CHANGES, place_of(level.path), f"more than {MOST_CHANGES}")
            pos = stop
            if tag in _PIXELS and insertions is not None:
                if pos < self.end:  # signatures, padding, or whatever stands behind the pixels
                    changes.append(Change((_TRAILING,), Action.REMOVE, "trailing data"))
                if trace is not None:
                    trace[-1] = (trace[-1][0], b"", END_OF_TRACE)
                return changed, max(end, pos), last
        if run < pos:
            parts.append((run, pos))
        return changed, pos, last

    def _special(
        self,
        level: Level,
        step: int,
        entry: Entry,
        place: tuple[int, int, int],
        undefined: bool,
        creators: dict[int, str],
    ) -> list[Part] | None:
        """What comes instead of an element; None when it stays as it is."""
        pos, start, stop = place
        if step == Step.CREATOR:
            creator = self.data[start:stop].decode("ascii", errors="replace").strip(" \0")
            if not undefined and level.decisions.keeps_creator(creator):
                creators[entry.tag >> 16 << 8 | entry.tag & 0xFF] = creator
                return None
            self.changes.append(entry.change)
            return []
        if step == Step.PRIVATE_NAMES and entry.tag >> 8 not in creators:
            step = Step.VALUE
        if step in (Step.PRIVATE, Step.PRIVATE_NAMES):
            step, _, _, entry = level.private(entry.tag, entry.encoded, creators[entry.tag >> 8])
            if step in (Step.KEEP, Step.SCRUB):
                if step == Step.SCRUB and (instead := self._scrubbed(level, entry, start, stop, undefined)):
                    return instead
                return self._kept_private(level, entry, place, undefined)
            if step == Step.REMOVE:
                self.changes.append(entry.change)
                return []
        if step == Step.NOTE:
            self.notes[entry.tag] = self.data[start:stop]
            return None
        if step == Step.PIXELS:
            self.pixels = (entry, (pos, stop), (start, stop))
            return [(pos, start), (start, stop)]
        if step == Step.SCRUB:
            return self._scrubbed(level, entry, start, stop, undefined)
        if step == Step.SEQUENCE:
            return self._sequence(level, entry, start, stop, undefined)
        return self._value(level, entry, start, stop, undefined)

    def _value(self, level: Level, entry: Entry, start: int, stop: int, undefined: bool) -> list[Part] | None:
        implicit = level.implicit
        if entry.vr == "SQ" or undefined:
            return self._no_sequence(level, entry, start, stop, undefined)
        old = self.data[start:stop]
        if entry.harvest:
            self.harvest.append((entry.vr, old))
        if entry.decision.action is Action.REMOVE:
            if not level.path:
                self.notes[entry.tag] = old
            self.changes.append(entry.change)
            return []
        new = self.values.replaced(entry.decision, entry.vr, old)
        if new is None:
            self.changes.append(Change(entry.change.path, Action.REMOVE, entry.change.rule))
            return []
        vr = entry.vr if entry.encoded in (b"", b"UN") else entry.encoded.decode("ascii")
        if not level.path:
            self.notes[entry.tag] = old
        if self.search is not None and entry.decision.action in MADE_OF_TEXT and self.search.finds(new, vr):
            new = b""
        if len(new) % 2:
            new += b"\0" if vr == "UI" else b" "
        if new == old:
            return None
        self.changes.append(entry.change)
        return [element(entry.tag, vr, new, implicit=implicit)]

    def _no_sequence(self, level: Level, entry: Entry, start: int, stop: int, undefined: bool) -> list[Part] | None:
        """A sequence that does not stay: emptied, or a dummy for it. Who is named in it may be named elsewhere, too."""
        inner = level.implicit or entry.encoded == b"UN"
        path = (*level.path, entry.tag)
        self.harvest += scan.names_in(
            self.data, start, stop, path, implicit=inner, undefined=undefined, ends=self._ends
        )
        if not level.path:
            self.notes[entry.tag] = self.data[start:stop]
        self.changes.append(entry.change)
        if entry.vr != "SQ" or entry.decision.action not in (Action.EMPTY, Action.DUMMY):
            return []
        if entry.decision.action is Action.DUMMY:
            return [dummy_sequence(entry.tag, implicit=level.implicit)]
        return None if start == stop else [header(entry.tag, "SQ", 0, implicit=level.implicit)]

    def _scrubbed(self, level: Level, entry: Entry, start: int, stop: int, undefined: bool) -> list[Part] | None:
        """Empty where a text that may stay tells an identifier of the patient."""
        if not level.path and not undefined:
            self.notes[entry.tag] = self.data[start:stop]
        if undefined or self.search is None or not self.search.finds(self.data[start:stop], entry.vr):
            return None
        self.changes.append(Change(entry.change.path, Action.EMPTY, "identifier"))
        vr = entry.encoded.decode("ascii") or entry.vr
        return [element(entry.tag, vr, b"", implicit=level.implicit)]

    def _kept_private(
        self, level: Level, entry: Entry, place: tuple[int, int, int], undefined: bool
    ) -> list[Part] | None:
        """A private element that does not tell its VR may be a sequence, or a UID, all the same."""
        _, start, stop = place
        if entry.encoded not in (b"", b"UN"):
            return None
        value = self.data[start : min(stop, start + 70)]
        if undefined or value[:4] == b"\xfe\xff\x00\xe0":
            return self._sequence(level, entry, start, stop, undefined)
        text = value.rstrip(b"\0 ")
        if level.decisions.retains_uids:
            return None
        if stop - start <= 64 and text.count(b".") > 2 and text.replace(b".", b"").isdigit():
            made = self.values.uid(text.decode("ascii")).encode("ascii")
            if made != text:
                self.changes.append(Change(entry.change.path, Action.UID, f"{entry.change.rule}, like a UID"))
                return [element(entry.tag, "UN" if entry.encoded else "UI", made, implicit=level.implicit)]
        return None

    # --- sequences ---

    def _sequence(self, level: Level, entry: Entry, start: int, stop: int, undefined: bool) -> list[Part] | None:
        """A sequence that stays: its items, each element decided for itself."""
        if entry.encoded not in (b"", b"SQ", b"UN"):
            self.changes.append(
                Change(entry.change.path, Action.REMOVE, f"{entry.change.rule}, encoded as no sequence")
            )
            return []
        inner = level.implicit or entry.encoded == b"UN"  # PS3.5 6.2.2
        path = (*level.path, entry.tag)
        items = items_of(self.data, start, stop, path, implicit=inner, undefined=undefined, ends=self._ends)
        self._items += len(items)
        if self._items > scan.MOST_ITEMS:
            raise Quarantine(Reason.TOO_LARGE, place_of(path), f"there are more than {scan.MOST_ITEMS} items")
        if not level.path and entry.tag in _NOTED_SEQUENCES:
            self.noted_items[entry.tag] = items
        if not level.path and entry.tag == OTHER_IDS:
            self.notes[entry.tag] = self.data[start:stop]
        parts: list[Part] = []
        size = 0
        changed = False
        content = entry.decision.action is Action.CONTENT
        for begin, end in items:
            made: list[Part] = []
            mode = Content.NONE
            if content:
                mode, rule = self._content_of(level, begin, end, inner)
                if rule is not None:
                    self.changes.append(Change(path, Action.REMOVE, rule))
                    changed = True
                    continue
            elif level.content or entry.decision.cleaned:
                private = has_private_code(self.data, begin, end, implicit=inner)
                unit = unit_of(self.data, begin, end, implicit=inner)
                mode = mode_below(level.content, entry.tag, unit, private_code=private, cleaned=entry.decision.cleaned)
            below = level.below(entry.tag, implicit=inner, content=mode)
            changed = self._walk(below, begin, end, made)[0] or changed
            length = sum(len(each) if isinstance(each, bytes) else each[1] - each[0] for each in made)
            if length >= UNDEFINED:
                raise Quarantine(Reason.TOO_LARGE, place_of(path), "an item has 4 GiB or more")
            parts.append(item_header(length))
            parts += made
            size += 8 + length
        if not changed:
            return None
        if size >= UNDEFINED:
            raise Quarantine(Reason.TOO_LARGE, place_of(path), "it has 4 GiB or more")
        vr = "UN" if entry.encoded == b"UN" else "SQ"
        return [header(entry.tag, vr, size, implicit=level.implicit), *parts]

    def _content_of(self, level: Level, begin: int, end: int, implicit: bool) -> tuple[Content, str | None]:
        """How the item's value is treated; a rule, if all of the item goes."""
        concept = concept_of(self.data, begin, end, implicit=implicit)
        decision = None if concept is None else level.decisions.concept(*concept)
        return mode_of(decision, concept, unit_of(self.data, begin, end, implicit=implicit))

    def _end_of_undefined(self, level: Level, entry: Entry, start: int, end: int) -> int:
        """Where a value of undefined length ends, its delimiter included: a sequence's, or fragments'."""
        path = (*level.path, entry.tag)
        inner = level.implicit or entry.encoded == b"UN"
        fragments = entry.encoded in _OF_FRAGMENTS
        return end_of_sequence(self.data, start, end, path, implicit=inner, fragments=fragments, ends=self._ends)


@dataclass(slots=True)
class _Again:
    """Walks a stretch once more, to see what becomes of it alone."""

    walk: ByteWalk
    level: Level

    def lasting(self, tag: int) -> bool:
        return tag not in _NOTED_SEQUENCES and self.level.decisions.lasting(tag)

    def removed(self, head: bytes, tag: int) -> Change | None:
        step, _, long, entry = self.level.table.get(head) or self.level.entry(head)
        nobodys = step == Step.PRIVATE and tag >> 8 not in self.walk._creators
        return entry.change if not long and (step == Step.REMOVE or nobodys) else None

    def creators_before(self, tag: int, groups: frozenset[int]) -> dict[int, str]:
        return {
            each: name
            for each, name in self.walk._creators.items()
            if each >> 8 in groups and (each >> 8 << 16 | each & 0xFF) < tag
        }

    def bytes_of(self, start: int, end: int) -> bytes:
        return self.walk.data[start:end]

    def outcome_of(self, start: int, end: int, creators: dict[int, str]) -> Outcome:
        data = self.walk.data
        values = replace(self.walk.values, pairs={})
        again = ByteWalk(data, self.walk.end, values, _creators=dict(creators))
        parts: list[Part] = []
        again._walk(self.level, start, end, parts, [])
        return Outcome(
            b"".join(part if isinstance(part, bytes) else data[part[0] : part[1]] for part in parts),
            tuple(again.changes),
            again.notes,
            tuple(again.harvest),
            values.pairs,
            {each: name for each, name in again._creators.items() if each not in creators},
        )
