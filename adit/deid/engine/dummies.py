"""Values that say nothing, for attributes that must have one (the code D of PS3.15). Used by both walks."""

from __future__ import annotations

from typing import Final

from adit.deid.engine.encoding import element, sequence

TEXT: Final = "REMOVED"

_VALUES: Final[dict[str, bytes]] = {
    "AE": TEXT.encode(),
    "AS": b"000D",
    "CS": TEXT.encode(),
    "DA": b"19000101",
    "DS": b"0",
    "DT": b"19000101000000",
    "IS": b"0",
    "LO": TEXT.encode(),
    "LT": TEXT.encode(),
    "PN": TEXT.encode(),
    "SH": TEXT.encode(),
    "ST": TEXT.encode(),
    "TM": b"000000",
    "UC": TEXT.encode(),
    "UR": b"urn:removed",
    "UT": TEXT.encode(),
    "UI": b"2.25.0",
}
_SIZES: Final = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}

CONTENT_SEQUENCE: Final = 0x0040A730


def dummy(vr: str) -> bytes:
    """For any VR but SQ; zeros where it is a number or bytes."""
    return _VALUES.get(vr) or bytes(_SIZES.get(vr, 2))


def dummy_sequence(tag: int, *, implicit: bool) -> bytes:
    """A sequence with one item that has what PS3.3 asks of it, as far as it is one that PS3.15 wants a dummy of."""
    return sequence(tag, [_item(tag, implicit=implicit)], implicit=implicit)


def _item(tag: int, *, implicit: bool) -> bytes:
    def text(number: int, vr: str, value: str = TEXT) -> bytes:
        return element(number, vr, value.encode("ascii"), implicit=implicit)

    def code(value: str, scheme: str, meaning: str) -> bytes:
        return text(0x00080100, "SH", value) + text(0x00080102, "SH", scheme) + text(0x00080104, "LO", meaning)

    removed = code(TEXT, "99ADIT", "Removed")
    match tag:
        case 0x0040A730:  # ContentSequence: one text
            concept = sequence(0x0040A043, [code("121106", "DCM", "Comment")], implicit=implicit)
            return (
                text(0x0040A010, "CS", "CONTAINS") + text(0x0040A040, "CS", "TEXT") + concept + text(0x0040A160, "UT")
            )
        case 0x00700001:  # GraphicAnnotationSequence: a layer without anything on it
            return text(0x00700002, "CS")
        case 0x0040A073:  # VerifyingObserverSequence
            return (
                text(0x0040A027, "LO")
                + element(0x0040A030, "DT", dummy("DT"), implicit=implicit)
                + text(0x0040A075, "PN")
                + sequence(0x0040A088, [], implicit=implicit)
            )
        case 0x00081072:  # OperatorIdentificationSequence
            return sequence(0x00401101, [removed], implicit=implicit)
        case 0x00401101 | 0x00080082:  # PersonIdentificationCodeSequence, InstitutionCodeSequence
            return removed
        case 0x00340001:  # FlowIdentifierSequence
            return element(0x00340002, "OB", dummy("OB"), implicit=implicit)
        case 0x0040B020:  # WaveformAnnotationSequence
            return element(0x0040A0B0, "US", b"\1\0\1\0", implicit=implicit) + text(0x00700006, "ST")
        case _:
            return b""
