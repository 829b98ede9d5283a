"""The same by pydicom, for what the byte walk does not do: big endian, and elements out of order.

Called by `instance`. Slower, and the whole instance is in memory; the decisions are the byte walk's own, all else is
not, so a property test lets each of the two find the other's mistakes.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_sequence
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from adit.deid.decision import Action, Decision
from adit.deid.engine.content_mode import CODE_MEANINGS, Content, is_private, mode_below, mode_of
from adit.deid.engine.dummies import dummy_sequence
from adit.deid.engine.pixel_step import ReadBlock
from adit.deid.engine.plan import Change, Entry, Level, Step
from adit.deid.engine.scan import DEEPEST, Buffer
from adit.deid.engine.syntax import EXPLICIT_BE, IMPLICIT_LE
from adit.deid.engine.values import MADE_OF_TEXT, Values
from adit.deid.identifiers import Identifiers, Search
from adit.deid.identifying import OTHER_IDS, OTHER_PATIENT_IDS, PATIENT_ID
from adit.deid.marks import METHOD_CODES, encoded_marks
from adit.deid.pixels.facts import FACT_TAGS, REGION_TAGS, SEQUENCE_OF_ULTRASOUND_REGIONS
from adit.deid.pixels.piece import MemoryBlock
from adit.deid.policy import ClassPolicy, vr_of
from adit.deid.quarantine import Quarantine, Reason, place_of
from adit.deid.verification import verify

if TYPE_CHECKING:
    from adit.deid.engine.deidentified import Deidentified
    from adit.deid.engine.instance import Engine
    from adit.deid.engine.patient import Patient

LARGEST: Final = 2**30
"""Bytes; it is all in memory, more than once."""

MOST_ITEMS: Final = 100_000
"""And as many elements at the top level: pydicom makes objects of some kilobytes of them."""

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    OSError,
    NotImplementedError,
    struct.error,
)

_ITEM: Final = b"\xfe\xff\x00\xe0"  # the tag in front of it
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_TRAILING: Final = 0xFFFCFFFC
_VALUE_TYPE: Final = 0x0040A040
_CONCEPT_NAME: Final = 0x0040A043
_CODE, _SCHEME = 0x00080100, 0x00080102
_UNITS: Final = 0x004008EA


def treat_irregular(
    engine: Engine, data: Buffer, syntax: str, pseudonym: str | None, patient_id: str | None
) -> Deidentified:
    """As `Engine.treat`. Raises Quarantine and LeftOut."""
    if len(data) > LARGEST:
        raise Quarantine(Reason.TOO_LARGE, "", f"it is irregular and has more than {LARGEST} bytes")
    implicit, little = syntax == IMPLICIT_LE, syntax != EXPLICIT_BE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they may tell values
        try:
            return _treated(engine, data[:], syntax, implicit, little, pseudonym, patient_id)
        except RecursionError:
            raise Quarantine(Reason.NESTED_TOO_DEEP, "", "its sequences are nested too deep") from None
        except _UNREADABLE:
            raise Quarantine(Reason.MALFORMED, "", "it cannot be read as what it says it is") from None
        except (OverflowError, AssertionError, IndexError, UnicodeError, BytesLengthException, InvalidDicomError):
            raise Quarantine(Reason.MALFORMED, "", "it holds values that cannot be written") from None


def _treated(
    engine: Engine,
    data: bytes,
    syntax: str,
    implicit: bool,
    little: bool,
    pseudonym: str | None,
    patient_id: str | None,
) -> Deidentified:
    from adit.deid.engine.instance import WANTED

    original = _read(data, implicit, little)
    known = {tag: _bytes_of(original, Tag(tag)) for tag in WANTED if tag in original}
    if patient_id and not known.get(PATIENT_ID, b"").strip(b"\0 "):
        known[PATIENT_ID] = patient_id.encode()
    if OTHER_IDS in original:
        others = [_bytes_of(item, Tag(PATIENT_ID)) for item in original[OTHER_IDS].value if PATIENT_ID in item]
        known[OTHER_PATIENT_IDS] = b"\\".join([known.get(OTHER_PATIENT_IDS, b""), *others])
    patient = engine.patient(known, pseudonym, patient_id)
    walk, made = _walked(engine, original, patient, implicit, little, None)
    identifiers = engine.identifiers(patient, known, walk.harvest, walk.values.pairs)
    header = _header(made, implicit, little)
    if identifiers.may_stand_in(header):
        walk, made = _walked(engine, _read(data, implicit, little), patient, implicit, little, identifiers)
        header = _header(made, implicit, little)
    syntax = _with_pixels(engine, original, made, walk, syntax)
    implicit, little = syntax == IMPLICIT_LE, syntax != EXPLICIT_BE
    written = _written(made, implicit, little)
    # what counts is what was written, read again
    verify(
        _header(_read(written, implicit, little), implicit, little),
        engine.expected(patient, identifiers),
        implicit=False,
    )
    return engine.made(b"", (written,), syntax, patient, walk.changes, walk.values.pairs)


def _with_pixels(engine: Engine, original: Dataset, made: Dataset, walk: _DataSetWalk, syntax: str) -> str:
    """Puts the new pixels in place, if there must be some; the transfer syntax that holds then."""
    notes = {tag: _bytes_of(original, Tag(tag)) for tag in FACT_TAGS if tag in original}
    tag = next((each for each in _PIXELS if each in original), None)
    block = MemoryBlock(b"" if tag is None else _bytes_of(original, Tag(tag)))
    regions: list[Mapping[int, bytes]] | None = None
    if SEQUENCE_OF_ULTRASOUND_REGIONS in original:
        items = original[SEQUENCE_OF_ULTRASOUND_REGIONS].value
        regions = [{each: _bytes_of(item, Tag(each)) for each in REGION_TAGS if each in item} for item in items]
    raw = None if tag is None else original.get_item(tag)
    vr = "OW" if raw is None or raw.VR not in ("OB", "OW", "OF", "OD") else raw.VR
    new = engine.pixel_step.pixels(syntax, notes, regions, tag, vr, ReadBlock(block.length, block.read))
    if new is None or tag is None:
        return syntax
    if new.transfer_syntax_uid != syntax:
        raise Quarantine(Reason.PIXELS, place_of((tag,)), "its pixels would have to be decoded, and it is irregular")
    value = b"".join(part if isinstance(part, bytes) else bytes(block.value[part[0] : part[1]]) for part in new.parts)
    for each, given in new.header.items():
        if given is None:
            made.pop(Tag(each), None)
        else:
            made[Tag(each)] = walk.raw(Tag(each), given[0], given[1])
    made[Tag(tag)] = walk.raw(Tag(tag), new.vr, value)
    for each, mark in encoded_marks(engine.policy, implicit=False, pixels_cleaned=new.masked):
        if each == METHOD_CODES:
            for element in read_dataset(BytesIO(mark), False, True):
                made[element.tag] = element
    walk.changes += new.changes
    return syntax


def _walked(
    engine: Engine, original: Dataset, patient: Patient, implicit: bool, little: bool, identifiers: Identifiers | None
) -> tuple[_DataSetWalk, Dataset]:
    values = Values(engine.identity, patient.subject, patient.charset)
    level = engine.level(patient.sop_class_uid, implicit=implicit, scrubs=identifiers is not None)
    walk = _DataSetWalk(values, None if identifiers is None else Search(identifiers), implicit, little)

    def value(tag: int) -> bytes | None:
        return _bytes_of(original, Tag(tag)) if tag in original else None

    values.templates = lambda text: engine.template(values, level, value, text)
    made = walk.data_set(level, original)
    for _, mark in engine.marks[False]:
        for element in read_dataset(BytesIO(mark), False, True):
            made[element.tag] = element
    return walk, made


@dataclass(slots=True)
class _DataSetWalk:
    values: Values
    search: Search | None
    implicit: bool
    little: bool
    changes: list[Change] = field(default_factory=list)
    harvest: list[tuple[str, bytes]] = field(default_factory=list)

    def data_set(self, level: Level, original: Dataset) -> Dataset:
        made = Dataset()
        creators: dict[int, str] = {}
        behind = False
        for tag in sorted(original.keys()):
            if behind and not level.path:
                self.changes.append(Change((_TRAILING,), Action.REMOVE, "trailing data"))
                break
            element = self._element(level, original, tag, creators)
            if element is not None:
                made[tag] = element
            behind = tag == 0x7FE00010
        return made

    def _element(
        self, level: Level, original: Dataset, tag: BaseTag, creators: dict[int, str]
    ) -> DataElement | RawDataElement | None:
        raw = original.get_item(tag)
        vr = (raw.VR or "") if raw is not None else ""
        encoded = b"" if level.implicit else vr.encode("ascii")
        step, _, _, entry = level.entry(struct.pack("<HH", tag.group, tag.element) + encoded)
        if step == Step.CREATOR:
            creator = _bytes_of(original, tag).decode("ascii", errors="replace").strip(" \0")
            if not level.decisions.keeps_creator(creator):
                self.changes.append(entry.change)
                return None
            creators[tag.group << 8 | tag.element & 0xFF] = creator
            return raw
        if step in (Step.PRIVATE, Step.PRIVATE_NAMES):
            owner = creators.get(tag.group << 8 | tag.element >> 8)
            if owner is None:
                if step == Step.PRIVATE_NAMES:
                    return self._value(level, original, tag, raw, entry, step)
                self.changes.append(entry.change)
                return None
            step, _, _, entry = level.private(int(tag), encoded, owner)
            if step in (Step.KEEP, Step.SCRUB) and vr in ("", "UN"):
                return self._of_unknown_vr(level, original, tag, raw, entry, step)
        if step in (Step.KEEP, Step.NOTE, Step.SCRUB) and vr == "SQ":
            self.changes.append(Change(entry.change.path, Action.REMOVE, "undefined length"))
            return None
        if step == Step.REMOVE:
            self.changes.append(entry.change)
            return None
        if step in (Step.KEEP, Step.NOTE, Step.PIXELS):
            return raw
        if step == Step.SEQUENCE:
            return self._sequence(level, original[tag], entry)
        return self._value(level, original, tag, raw, entry, step)

    def _of_unknown_vr(
        self, level: Level, original: Dataset, tag: BaseTag, raw: Any, entry: Entry, step: int
    ) -> DataElement | RawDataElement | None:
        """A private element that is kept may be a sequence, or a UID, all the same."""
        value = _bytes_of(original, tag)
        if raw.VR == "SQ":
            return self._sequence(level, original[tag], entry)
        if value[:4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"):
            items = read_sequence(BytesIO(value), True, value[0] == 0xFE, len(value), "iso8859")
            return self._sequence(level, DataElement(tag, "SQ", items), entry)
        if step == Step.SCRUB and self.search is not None and self.search.finds(value, entry.vr):
            self.changes.append(Change(entry.change.path, Action.EMPTY, "identifier"))
            return self.raw(tag, "UN", b"")
        text = value.rstrip(b"\0 ")
        if level.decisions.retains_uids:
            return raw  # type: ignore[no-any-return]
        if len(value) <= 64 and text.count(b".") > 2 and text.replace(b".", b"").isdigit():
            made = self.values.uid(text.decode("ascii")).encode("ascii")
            if made != text:
                self.changes.append(Change(entry.change.path, Action.UID, f"{entry.change.rule}, like a UID"))
                return self.raw(tag, "UN", made + b"\0" * (len(made) % 2))
        return raw  # type: ignore[no-any-return]

    def _value(
        self, level: Level, original: Dataset, tag: BaseTag, raw: Any, entry: Entry, step: int
    ) -> DataElement | RawDataElement | None:
        if entry.vr == "SQ":
            self.changes.append(entry.change)
            self.harvest += _names_in(original, tag)
            if entry.decision.action is Action.DUMMY:
                return read_dataset(BytesIO(dummy_sequence(int(tag), implicit=False)), False, True)[tag]
            return DataElement(tag, "SQ", Sequence()) if entry.decision.action is Action.EMPTY else None
        old = _bytes_of(original, tag)
        vr = entry.vr if entry.encoded in (b"", b"UN") else entry.encoded.decode("ascii")
        if step == Step.SCRUB:
            if self.search is None or not self.search.finds(old, entry.vr):
                return raw  # type: ignore[no-any-return]
            self.changes.append(Change(entry.change.path, Action.EMPTY, "identifier"))
            return self.raw(tag, vr, b"")
        if entry.harvest:
            self.harvest.append((entry.vr, old))
        new = self.values.replaced(entry.decision, entry.vr, old)
        if new is None:
            self.changes.append(Change(entry.change.path, Action.REMOVE, entry.change.rule))
            return None
        if self.search is not None and entry.decision.action in MADE_OF_TEXT and self.search.finds(new, vr):
            new = b""
        if len(new) % 2:
            new += b"\0" if vr == "UI" else b" "
        if new == old:
            return raw  # type: ignore[no-any-return]
        self.changes.append(entry.change)
        return self.raw(tag, vr, new)

    def raw(self, tag: BaseTag, vr: str, value: bytes) -> RawDataElement:
        return RawDataElement(tag, vr, len(value), value, 0, self.implicit, self.little)

    def _sequence(self, level: Level, element: DataElement, entry: Entry) -> DataElement | None:
        if element.VR != "SQ":
            self.changes.append(
                Change(entry.change.path, Action.REMOVE, f"{entry.change.rule}, encoded as no sequence")
            )
            return None
        items = []
        for item in element.value:
            mode, rule = mode_in(item, level.content, entry.tag, entry.decision, level.decisions)
            if rule is not None:
                self.changes.append(Change(entry.change.path, Action.REMOVE, rule))
                continue
            below = level.below(entry.tag, implicit=level.implicit or _implicit(item), content=mode)
            items.append(self.data_set(below, item))
        return DataElement(element.tag, "SQ", Sequence(items))


def mode_in(
    item: Dataset, content: Content, tag: int, decision: Decision, decisions: ClassPolicy
) -> tuple[Content, str | None]:
    """How what stands in an item of the sequence `tag` is treated, which itself stands in `content`; a rule, if all of
    the item goes."""
    if decision.action is Action.CONTENT:
        concept = _concept(item)
        listed = None if concept is None else decisions.concept(*concept)
        return mode_of(listed, concept, _unit(item))
    if not content and not decision.cleaned:
        return Content.NONE, None
    private = any(each in item for each in CODE_MEANINGS) and is_private(_text_of(item, _SCHEME))
    return mode_below(content, tag, _unit(item), private_code=private, cleaned=decision.cleaned), None


def _names_in(original: Dataset, tag: BaseTag, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """The values of VR PN and UI in a sequence that does not stay, as far as it can be read."""
    with suppress(*_UNREADABLE):
        items = original[tag].value
        for item in items if isinstance(items, Sequence) and depth < DEEPEST else ():
            for inner in sorted(item.keys()):
                raw = item.get_item(inner)
                vr = raw.VR if raw is not None and raw.VR not in (None, "UN") else vr_of(int(inner))
                if vr in ("PN", "UI"):
                    yield vr, _bytes_of(item, inner)
                elif vr == "SQ":
                    yield from _names_in(item, inner, depth + 1)


def _concept(item: Dataset) -> tuple[str, str, str] | None:
    """Scheme, code and value type."""
    named = _first(item, _CONCEPT_NAME)
    if named is None:
        return None
    scheme, code = (_text_of(named, tag) for tag in (_SCHEME, _CODE))
    return (scheme, code, _text_of(item, _VALUE_TYPE)) if scheme and code else None


def _unit(item: Dataset) -> str:
    unit = _first(item, _UNITS)
    return "" if unit is None else _text_of(unit, _CODE)


def _first(item: Dataset, tag: int) -> Dataset | None:
    """The first item of a sequence."""
    items = item[tag].value if tag in item else None
    return items[0] if isinstance(items, Sequence) and items else None


def _text_of(item: Dataset, tag: int) -> str:
    return _bytes_of(item, Tag(tag)).decode("ascii", errors="replace").strip(" \0")


def _implicit(item: Dataset) -> bool:
    """Whether its elements came without a VR, as inside a sequence that is encoded as UN."""
    return any(element.VR is None for element in item.values())


def _read(data: bytes, implicit: bool, little: bool) -> Dataset:
    """Raises Quarantine for an element that stands there twice, as pydicom would forget the first, and for more than
    may be held in memory."""
    if data.count(_ITEM if little else _ITEM[1::-1] + _ITEM[:1:-1]) > MOST_ITEMS:
        raise Quarantine(Reason.TOO_LARGE, "", f"it is irregular and has more than {MOST_ITEMS} items")
    seen: set[int] = set()
    for tag in _tags(data, implicit, little):
        if tag in seen:
            raise Quarantine(Reason.DUPLICATE_ELEMENT, place_of((tag,)), "it stands there twice")
        if len(seen) >= MOST_ITEMS:
            raise Quarantine(Reason.TOO_LARGE, "", f"it is irregular and has more than {MOST_ITEMS} elements")
        seen.add(tag)
    return read_dataset(BytesIO(data), implicit, little)


def _tags(data: bytes, implicit: bool, little: bool) -> Iterator[int]:
    from pydicom.filereader import data_element_generator

    for element in data_element_generator(BytesIO(data), implicit, little):
        yield int(element.tag)


def _bytes_of(original: Dataset, tag: BaseTag) -> bytes:
    """The value as it stands there, whatever pydicom would make of it."""
    element = original.get_item(tag)
    value = None if element is None else element.value
    return value if isinstance(value, bytes) else b""


def _written(made: Dataset, implicit: bool, little: bool) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, made)
    return file.getvalue()


def _header(made: Dataset, implicit: bool, little: bool) -> bytes:
    """In explicit little endian, without the pixels, for the verification."""
    rest = Dataset()
    for tag in made.keys():  # noqa: SIM118 - its values are not wanted
        if tag not in _PIXELS:
            rest[tag] = made.get_item(tag)
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = False, True
    for element in list(rest):  # converts, so that it can be written in another byte order
        _ = element.value
    write_dataset(file, rest)
    return file.getvalue()
