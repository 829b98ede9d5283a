"""Data sets made byte by byte, also such as no library would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.filereader import read_dataset

from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.instance import Engine
from adit.deid.engine.syntax import EXPLICIT_LE, IMPLICIT_LE
from adit.deid.identity import Identity
from adit.deid.policy import Policy
from tests.unit.deid.profiles import profile

KEY = bytes(range(32))
CT = "1.2.840.10008.5.1.4.1.1.2"
LONG = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # noqa: SIM905


@dataclass(frozen=True)
class Item:
    elements: tuple[Element, ...]
    undefined: bool = False


@dataclass(frozen=True)
class Element:
    """`value` is bytes or items; `undefined` is how a sequence's length is written; UN makes its inside implicit."""

    tag: int
    vr: str
    value: bytes | tuple[Item, ...]
    undefined: bool = False


def engine(*options: str, **spec: Any) -> Engine:
    return Engine(Policy(profile(*options, **spec)), Identity(KEY, "research"))


@cache
def _remembered(options: tuple[str, ...]) -> Engine:
    """A policy is dearer to compile than an instance to treat; a used engine does as a new one, by another test."""
    return engine(*options)


def encode(elements: Sequence[Element], *, implicit: bool = False) -> bytes:
    return b"".join(_element(each, implicit) for each in elements)


def _element(element: Element, implicit: bool) -> bytes:
    if isinstance(element.value, bytes):
        value = element.value + (b"\0" if element.vr in ("UI", "OB", "UN") else b" ") * (len(element.value) % 2)
    else:
        inner = implicit or element.vr == "UN"
        value = b"".join(_item(item, inner) for item in element.value)
        if element.undefined:
            value += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    undefined = element.undefined and not isinstance(element.value, bytes)
    length = 0xFFFFFFFF if undefined else len(value)
    group, number = element.tag >> 16, element.tag & 0xFFFF
    if implicit:
        return struct.pack("<HHI", group, number, length) + value
    if element.vr in LONG:
        return struct.pack("<HH2sHI", group, number, element.vr.encode(), 0, length) + value
    return struct.pack("<HH2sH", group, number, element.vr.encode(), length) + value


def _item(item: Item, implicit: bool) -> bytes:
    content = encode(item.elements, implicit=implicit)
    if item.undefined:
        return struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + content + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def instance(*more: Element, name: bytes = b"Zyxwvut^Quorra", patient_id: bytes = b"MRN-990017") -> list[Element]:
    """A CT of this patient with some more elements."""
    given = {each.tag: each for each in more}
    own = [
        Element(0x00080016, "UI", CT.encode()),
        Element(0x00080018, "UI", b"1.2.3.4.5.6.7"),
        Element(0x00080060, "CS", b"CT"),
        Element(0x00100010, "PN", name),
        Element(0x00100020, "LO", patient_id),
        Element(0x0020000D, "UI", b"1.2.3.4.5"),
        Element(0x0020000E, "UI", b"1.2.3.4.5.6"),
        Element(0x00280002, "US", b"\1\0"),
        Element(0x00280004, "CS", b"MONOCHROME2"),
        Element(0x00280010, "US", b"\1\0"),
        Element(0x00280011, "US", b"\2\0"),
        Element(0x00280100, "US", b"\x10\0"),
        Element(0x00280101, "US", b"\x10\0"),
        Element(0x00280103, "US", b"\0\0"),
        Element(0x7FE00010, "OW", b"\1\0\2\0"),
    ]
    return sorted([*(each for each in own if each.tag not in given), *more], key=lambda each: each.tag)


def treated(
    elements: Sequence[Element], *options: str, implicit: bool = False, **spec: Any
) -> tuple[Deidentified, bytes, Dataset]:
    """What becomes of it: as the engine tells, as bytes, and as pydicom reads those."""
    used = engine(*options, **spec) if spec else _remembered(options)
    made = used.treat(encode(elements, implicit=implicit), syntax(implicit))
    data = b"".join(made.pieces())
    assert len(data) == made.size
    return made, data, read(data, implicit=implicit)


def read(data: bytes, *, implicit: bool = False) -> Dataset:
    return read_dataset(BytesIO(data), implicit, True)


def syntax(implicit: bool) -> str:
    return IMPLICIT_LE if implicit else EXPLICIT_LE
