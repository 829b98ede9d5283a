"""Pixels in the engine: asks `adit.deid.pixels` what to do with them, and puts what comes out behind the new header.

Called by both walks after the header was treated, with what they noted of the original. Most instances leave with
their pixels untouched, and then nothing is copied; some are masked, and what cannot be judged is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from adit.deid.decision import Action
from adit.deid.engine.encoding import LONG_VRS, UNDEFINED, element
from adit.deid.engine.plan import Change
from adit.deid.engine.scan import EXPLICIT, IMPLICIT, LONG, end_of_sequence
from adit.deid.pixels.decoder import Decoder
from adit.deid.pixels.facts import FACT_TAGS, PixelElement, PixelFacts, facts_of
from adit.deid.pixels.order import Order
from adit.deid.pixels.piece import Block, Kept
from adit.deid.pixels.plan import Leave, Mask, Plan, Refuse, plan
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.treatment import treated, untouched_length
from adit.deid.quarantine import Quarantine, Reason, place_of
from adit.model.pixel_policy import PixelPolicy

LARGEST: Final = 2**29
"""New bytes that are kept in memory for one instance."""

_PLANS: Final = 500
_TAGS: Final = tuple(sorted(FACT_TAGS))


class NoDecoder:
    """Where no process for codecs may be started."""

    def do(self, order: Order, frame: bytes) -> bytes:
        raise PixelQuarantine(PixelReason.CODEC_MISSING, "compressed pixels are not decoded here")


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """The pixels' value, wherever it lies."""

    length: int
    at: Callable[[int, int], bytes]  # from this byte of it, so many

    def read(self, start: int, count: int) -> bytes:
        data = self.at(start, count)
        if len(data) != count:
            raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "the pixel data end early")
        return data


@dataclass(frozen=True, slots=True)
class NewPixels:
    """Ranges count from the old value's first byte. `header` has the other elements that change with them."""

    transfer_syntax_uid: str
    vr: str
    length: int  # UNDEFINED where they are fragments
    parts: tuple[tuple[int, int] | bytes, ...]
    header: dict[int, tuple[str, bytes] | None]
    rule: str
    masked: bool

    @property
    def changes(self) -> list[Change]:
        told = [
            Change((tag,), Action.REMOVE if made is None else Action.REPLACE, f"pixels {self.rule}")
            for tag, made in self.header.items()
        ]
        return [*told, Change((int(PixelElement.INTEGER),), Action.REPLACE, f"pixels {self.rule}")]


class PixelStep:
    """Of one engine. Keeps the plans that it made last: slices of a series have the same."""

    def __init__(self, policy: PixelPolicy, decoder: Decoder) -> None:
        self._policy = policy
        self._decoder = decoder
        self._plans: dict[tuple[object, ...], tuple[PixelFacts, Plan]] = {}
        self._untouched: dict[tuple[object, ...], int | None] = {}  # native pixels: which length need not be looked at

    def pixels(
        self,
        syntax: str,
        notes: Mapping[int, bytes],
        regions: list[Mapping[int, bytes]] | None,
        tag: int | None,
        vr: str,
        block: Block,
    ) -> NewPixels | None:
        """The new pixels; None when they stay as they are. Raises Quarantine."""
        key = (syntax, tag, vr, *map(notes.get, _TAGS)) if regions is None else None
        if key is not None and self._untouched.get(key) == block.length:
            return None
        try:
            facts, planned = self._plan(key, syntax, notes, regions, tag, vr)
            if isinstance(planned, Refuse):
                raise PixelQuarantine(planned.reason, planned.detail)
            if facts.element is None:
                _require_no_offsets(facts)
                return None
            new = self._new(facts, planned, block)
        except PixelQuarantine as refused:
            place = place_of((tag,)) if tag is not None else "00080016"
            detail = f"{refused.reason}: {refused.detail}"
            raise Quarantine(Reason.PIXELS, place, detail, cause=str(refused.reason)) from None
        if new is None and key is not None:
            self._untouched[key] = untouched_length(facts, planned, self._policy.unused_bits)
        return new

    def _plan(
        self,
        key: tuple[object, ...] | None,
        syntax: str,
        notes: Mapping[int, bytes],
        regions: list[Mapping[int, bytes]] | None,
        tag: int | None,
        vr: str,
    ) -> tuple[PixelFacts, Plan]:
        found = self._plans.get(key) if key is not None else None
        if found is None:
            values = {each: notes[each] for each in _TAGS if each in notes}
            pixel_element = None if tag is None else PixelElement(tag)
            facts = facts_of(syntax, values, element=pixel_element, vr=vr, regions=regions)
            found = facts, plan(facts, self._policy)
            if key is not None:
                if len(self._plans) >= _PLANS:
                    self._plans.clear()
                    self._untouched.clear()
                self._plans[key] = found
        return found

    def _new(self, facts: PixelFacts, planned: Leave | Mask, block: Block) -> NewPixels | None:
        made = treated(facts, planned, block, self._decoder, self._policy.unused_bits)
        parts: list[tuple[int, int] | bytes] = []
        size = new = 0
        for piece in made.pieces:
            if isinstance(piece, Kept):
                parts.append((piece.start, piece.end))
                size += piece.end - piece.start
                continue
            parts.append(piece)
            size += len(piece)
            new += len(piece)
            if new > LARGEST:
                raise PixelQuarantine(PixelReason.FRAME_TOO_LARGE, f"its new pixels have more than {LARGEST} bytes")
        if parts == [(0, block.length)] and not made.changes and made.transfer_syntax_uid == facts.transfer_syntax_uid:
            return None
        if made.length is not None and made.length != size:
            raise PixelQuarantine(PixelReason.LENGTH_CONTRADICTS_HEADER, "its new pixels have another length than told")
        header = {each.tag: None if each.value is None else (each.vr, each.value) for each in made.changes}
        rule = planned.rule if isinstance(planned, Mask) else "frames"
        length = UNDEFINED if made.length is None else made.length
        return NewPixels(made.transfer_syntax_uid, made.vr, length, tuple(parts), header, rule, made.masked)


def _require_no_offsets(facts: PixelFacts) -> None:
    if facts.extended_offsets is not None:
        raise PixelQuarantine(PixelReason.HEADER_MALFORMED, "it has an offset table and no pixels")


def with_pixels(header: bytes, new: NewPixels, marks: Mapping[int, bytes], old_header: int, *, implicit: bool) -> bytes:
    """The header that belongs to the new pixels, up to their value; `old_header` bytes of it led to the old ones."""
    instead: dict[int, bytes] = dict(marks)
    for tag, made in new.header.items():
        instead[tag] = b"" if made is None else element(tag, made[0], made[1], implicit=implicit)
    body = header[:-old_header] if old_header else header
    parts: list[bytes] = []
    pending = sorted(instead)
    head = IMPLICIT if implicit else EXPLICIT
    pos = 0
    while pos < len(body):
        key, length = head(body, pos)
        group, number = struct.unpack_from("<HH", key)
        tag = group << 16 | number
        start = pos + 8
        if key[4:] in LONG_VRS:
            length = LONG(body, start)[0]
            start += 4
        if length == UNDEFINED:
            inner = implicit or key[4:] == b"UN"
            stop = end_of_sequence(body, start, len(body), (tag,), implicit=inner, fragments=False)
        else:
            stop = start + length
        while pending and pending[0] < tag:
            parts.append(instead[pending.pop(0)])
        if pending and pending[0] == tag:
            parts.append(instead[pending.pop(0)])
        else:
            parts.append(body[pos:stop])
        pos = stop
    parts += [instead[tag] for tag in pending]
    group, number = int(PixelElement.INTEGER) >> 16, int(PixelElement.INTEGER) & 0xFFFF
    if implicit:
        parts.append(struct.pack("<HHI", group, number, new.length))
    else:
        parts.append(struct.pack("<HH2sHI", group, number, new.vr.encode("ascii"), 0, new.length))
    return b"".join(parts)
