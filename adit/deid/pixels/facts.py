"""What a decision about pixels needs to know of the header. Filled by the engine, read by everything in this room.

The values are those of the original, before anything is removed: rules ask for device and station.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.syntax import EXPLICIT_BIG
from adit.model.pixel_policy import PixelAttribute

SEQUENCE_OF_ULTRASOUND_REGIONS: Final = 0x00186011
REGION_TAGS: Final = (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)  # x0, y0, x1, y1: the last two inside
PIXEL_DATA_PROVIDER_URL: Final = 0x00287FE0


class PixelElement(IntEnum):
    """The three elements that hold pixels (PS3.3 C.7.6.3, C.7.6.24): an instance has at most one."""

    INTEGER = 0x7FE00010
    FLOAT = 0x7FE00008
    DOUBLE = 0x7FE00009


_TEXTS: Final[dict[int, PixelAttribute]] = {
    0x00080016: PixelAttribute.SOP_CLASS_UID,
    0x00080060: PixelAttribute.MODALITY,
    0x00080008: PixelAttribute.IMAGE_TYPE,
    0x00080064: PixelAttribute.CONVERSION_TYPE,
    0x00080070: PixelAttribute.MANUFACTURER,
    0x00081090: PixelAttribute.MANUFACTURER_MODEL_NAME,
    0x00181020: PixelAttribute.SOFTWARE_VERSIONS,
    0x00181000: PixelAttribute.DEVICE_SERIAL_NUMBER,
    0x00081010: PixelAttribute.STATION_NAME,
    0x00080080: PixelAttribute.INSTITUTION_NAME,
    0x00181016: PixelAttribute.SECONDARY_CAPTURE_DEVICE_MANUFACTURER,
    0x00181018: PixelAttribute.SECONDARY_CAPTURE_DEVICE_MANUFACTURER_MODEL_NAME,
    0x0008103E: PixelAttribute.SERIES_DESCRIPTION,
    0x00200011: PixelAttribute.SERIES_NUMBER,
    0x00181030: PixelAttribute.PROTOCOL_NAME,
    0x00180015: PixelAttribute.BODY_PART_EXAMINED,
    0x00280004: PixelAttribute.PHOTOMETRIC_INTERPRETATION,
    0x00280008: PixelAttribute.NUMBER_OF_FRAMES,
    0x00280301: PixelAttribute.BURNED_IN_ANNOTATION,
}
_NUMBERS: Final[dict[int, PixelAttribute | None]] = {
    0x00280002: PixelAttribute.SAMPLES_PER_PIXEL,
    0x00280006: None,
    0x00280010: PixelAttribute.ROWS,
    0x00280011: PixelAttribute.COLUMNS,
    0x00280100: PixelAttribute.BITS_ALLOCATED,
    0x00280101: None,
    0x00280102: None,
    0x00280103: None,
}
_RECOGNIZABLE: Final = 0x00280302
_LOSSY: Final = 0x00282110
_LOSSY_RATIO: Final = 0x00282112
_SPECIMEN_LABEL: Final = 0x00480010
_OVERLAY_ROWS, _OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION = 0x60000010, 0x60000100, 0x60000102
_OVERLAYS: Final = range(0, 0x20, 2)
_PADDING: Final = (0x00280120, 0x00280121)  # PixelPaddingValue, PixelPaddingRangeLimit
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002

FACT_TAGS: Final = frozenset(
    {*_TEXTS, *_NUMBERS, _RECOGNIZABLE, _LOSSY, _LOSSY_RATIO, _EXTENDED_OFFSETS, _EXTENDED_LENGTHS}
    | {*_PADDING, PIXEL_DATA_PROVIDER_URL, _SPECIMEN_LABEL}
    | {
        tag + (group << 16)
        for group in _OVERLAYS
        for tag in (_OVERLAY_ROWS, _OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION)
    }
)
"""The top-level elements whose raw values `facts_of` takes; a sequence of items comes beside them."""

_EDGES: Final = " \0\t\r\n"
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,11}")
_LONGEST: Final = 1024  # of a text that a rule looks at


@dataclass(frozen=True, slots=True)
class Region:
    """One of the Sequence of Ultrasound Regions: its corners, both inside."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True)
class PixelFacts:
    """None where the header has no value. `texts` holds each attribute's values, without blanks at the ends."""

    transfer_syntax_uid: str
    element: PixelElement | None
    vr: str
    texts: Mapping[PixelAttribute, tuple[str, ...]]
    rows: int | None
    columns: int | None
    samples_per_pixel: int | None
    planar_configuration: int | None
    photometric_interpretation: str
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    pixel_representation: int | None
    frames: int
    burned_in_annotation: str
    label_in_image: bool  # of a slide, as people write on it
    recognizable_visual_features: str
    pixels_elsewhere: bool
    lossy: str
    lossy_ratio: bool
    regions: tuple[Region, ...] | None
    embedded_overlays: tuple[int, ...]  # the bit positions of overlays that lie in the pixels' unused bits (retired)
    untold_overlays: bool  # whether there are some that do not tell where their bits are
    padding: tuple[int, ...]  # samples that are no pixels, by their 16 bits
    extended_offsets: tuple[tuple[int, int], ...] | None  # offset and length of each frame

    @property
    def sop_class_uid(self) -> str:
        return next(iter(self.texts.get(PixelAttribute.SOP_CLASS_UID, ())), "")

    @property
    def big_endian(self) -> bool:
        return self.transfer_syntax_uid == EXPLICIT_BIG


def facts_of(
    transfer_syntax_uid: str,
    values: Mapping[int, bytes],
    *,
    element: PixelElement | None,
    vr: str = "OW",
    regions: Sequence[Mapping[int, bytes]] | None = None,
) -> PixelFacts:
    """From the raw values of FACT_TAGS at the top level, and REGION_TAGS of each region's item.

    `vr` is the pixel element's. Raises PixelQuarantine when a value is not what its VR says.
    """
    order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    texts = {attribute: _texts(values[tag]) for tag, attribute in _TEXTS.items() if tag in values}
    numbers = {tag: _number(tag, values[tag], f"{order}H") for tag in _NUMBERS if values.get(tag)}
    texts |= {
        attribute: (str(numbers[tag]),)
        for tag, attribute in _NUMBERS.items()
        if attribute is not None and tag in numbers
    }
    return PixelFacts(
        transfer_syntax_uid=transfer_syntax_uid,
        element=element,
        vr=vr,
        texts=texts,
        samples_per_pixel=numbers.get(0x00280002),
        planar_configuration=numbers.get(0x00280006),
        photometric_interpretation=_one(texts.get(PixelAttribute.PHOTOMETRIC_INTERPRETATION, ())).upper(),
        rows=numbers.get(0x00280010),
        columns=numbers.get(0x00280011),
        bits_allocated=numbers.get(0x00280100),
        bits_stored=numbers.get(0x00280101),
        high_bit=numbers.get(0x00280102),
        pixel_representation=numbers.get(0x00280103),
        frames=_frames(texts.get(PixelAttribute.NUMBER_OF_FRAMES, ())),
        burned_in_annotation=_worst(texts.get(PixelAttribute.BURNED_IN_ANNOTATION, ())),
        label_in_image=_worst(_texts(values.get(_SPECIMEN_LABEL, b""))) == "YES",
        recognizable_visual_features=_one(_texts(values.get(_RECOGNIZABLE, b""))).upper(),
        pixels_elsewhere=bool(values.get(PIXEL_DATA_PROVIDER_URL, b"").strip(b" \0")),
        lossy=_one(_texts(values.get(_LOSSY, b""))),
        lossy_ratio=bool(values.get(_LOSSY_RATIO, b"").strip(b" \0")),
        regions=None if regions is None else tuple(_region(item, order) for item in regions),
        embedded_overlays=_embedded_overlays(values, order),
        untold_overlays=_untold_overlays(values, order),
        padding=tuple(_number(tag, values[tag], f"{order}H") for tag in _PADDING if len(values.get(tag, b"")) == 2),
        extended_offsets=_extended_offsets(values, order),
    )


def _texts(value: bytes) -> tuple[str, ...]:
    """Whatever the character set: rules compare what is ASCII in it."""
    text = value[:_LONGEST].decode("latin-1").strip(_EDGES)
    return tuple(part.strip(_EDGES) for part in text.split("\\")) if text else ()


def _one(values: Sequence[str]) -> str:
    return values[0] if values else ""


def _worst(values: Sequence[str]) -> str:
    """Of several answers, which nobody should give, YES if it is among them."""
    return "YES" if "YES" in map(str.upper, values) else _one(values).upper()


def _number(tag: int, value: bytes, layout: str) -> int:
    if len(value) != struct.calcsize(layout):
        raise _malformed(tag)
    return int(struct.unpack(layout, value)[0])


def _malformed(tag: int) -> PixelQuarantine:
    return PixelQuarantine(
        PixelReason.HEADER_MALFORMED, f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is not one value of its VR"
    )


def _frames(values: Sequence[str]) -> int:
    if not values:
        return 1
    if len(values) > 1 or not _WHOLE.fullmatch(values[0]):
        raise _malformed(0x00280008)
    frames = int(values[0])
    if frames < 1:
        raise PixelQuarantine(PixelReason.FRAMES_CONTRADICT_HEADER, f"NumberOfFrames is {frames}")
    return frames


def _region(item: Mapping[int, bytes], order: str) -> Region:
    missing = next((tag for tag in REGION_TAGS if not item.get(tag)), None)
    if missing is not None:
        raise PixelQuarantine(PixelReason.REGIONS_UNUSABLE, "an ultrasound region does not tell its corners")
    return Region(*(_number(tag, item[tag], f"{order}I") for tag in REGION_TAGS))


def _embedded_overlays(values: Mapping[int, bytes], order: str) -> tuple[int, ...]:
    told = [_overlay(values, group, order) for group in _OVERLAYS]
    return tuple(sorted({position for allocated, position in told if _is_embedded(allocated) and position is not None}))


def _untold_overlays(values: Mapping[int, bytes], order: str) -> bool:
    """An overlay with data of its own has one bit allocated, from 0 on; of any other the position must be known."""
    for group in _OVERLAYS:
        allocated, position = _overlay(values, group, order)
        there = any(tag + (group << 16) in values for tag in (_OVERLAY_ROWS, _OVERLAY_BITS_ALLOCATED))
        if (there and position is None) or (position and not _is_embedded(allocated)):
            return True
    return False


def _is_embedded(allocated: int | None) -> bool:
    return allocated is not None and allocated != 1


def _overlay(values: Mapping[int, bytes], group: int, order: str) -> tuple[int | None, int | None]:
    """OverlayBitsAllocated and OverlayBitPosition, as far as they are told."""
    found = [values.get(tag + (group << 16), b"") for tag in (_OVERLAY_BITS_ALLOCATED, _OVERLAY_BIT_POSITION)]
    allocated, position = (struct.unpack(f"{order}H", value)[0] if len(value) == 2 else None for value in found)
    return allocated, position


def _extended_offsets(values: Mapping[int, bytes], order: str) -> tuple[tuple[int, int], ...] | None:
    offsets, lengths = values.get(_EXTENDED_OFFSETS, b""), values.get(_EXTENDED_LENGTHS, b"")
    if not offsets and not lengths:
        return None
    if len(offsets) % 8 or len(offsets) != len(lengths):
        raise _malformed(_EXTENDED_OFFSETS)
    layout = f"{order}{len(offsets) // 8}Q"
    return tuple(zip(struct.unpack(layout, offsets), struct.unpack(layout, lengths), strict=True))
