"""Identifiers of queries and fetches: from keys to an encoded data set, from an answer to its values.

Called by `find` and `get`. Keys are encoded as they are given: ranges, wildcards and lists are no
valid values of their VR, so no conversion must see them. Most answers hold a few plain texts and are read here;
those with anything else in them are pydicom's, with all its knowledge of character sets and of what peers get wrong.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from adit.dicom import dictionary
from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE
from adit.dicom.dimse.plain_elements import LONG_VRS, NotPlain, elements
from adit.dicom.header_walk import require_few
from adit.dicom.node import Answer

UTF_8: Final = "ISO_IR 192"
_NULL_PADDED: Final = frozenset({"UI"})
_ASCII_INSIDE: Final = frozenset(
    {"", "ISO_IR 6", "ISO_IR 192", "GB18030", "GBK"}
    | {f"ISO_IR {number}" for number in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166)}
)
"""Character sets in which ASCII's bytes are ASCII's characters."""
_PRINTABLE: Final = re.compile(rb"[ -~]*\0?")
_INFLATED: Final = 2 * 2**20  # bytes of an identifier that was deflated; of others no more are received
_MOST: Final = 20_000  # elements and items of one that is more than a few plain texts: pydicom makes objects of them
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,11}")


def encode(keys: Mapping[str, str], transfer_syntax: str, returning: Iterable[str] = ()) -> bytes:
    """A data set in an uncompressed little endian syntax; keywords in `returning` and empty keys match everything.

    The character set is UTF-8, and said so where a key needs it (PS3.4 C.4.1.1.3.1: not otherwise).
    Raises ValueError for a keyword that the data dictionary doesn't have.
    """
    values = {**dict.fromkeys(returning, ""), **keys}
    if not "".join(values.values()).isascii():
        values["SpecificCharacterSet"] = UTF_8
    encoded = {}
    for keyword, value in values.items():
        entry = dictionary.entry(keyword)
        if entry is None:
            raise ValueError(f"{keyword} is not a DICOM keyword")
        tag, vr = entry
        encoded[tag] = _element(tag, vr, value.encode("utf-8"), implicit=transfer_syntax == IMPLICIT_LE)
    return b"".join(encoded[tag] for tag in sorted(encoded))


def _element(tag: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in _NULL_PADDED else b" "
    if implicit:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr.encode() in LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def decode(encoded: bytes, transfer_syntax: str) -> Answer:
    """All values converted, texts by the data set's own Specific Character Set.

    Raises ValueError of one that is too long, and whatever pydicom raises when the bytes are no data set.
    """
    if transfer_syntax == DEFLATED_LE:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        encoded = inflater.decompress(encoded, _INFLATED)
        if not inflater.eof:
            raise ValueError("an identifier is too long, or its deflated stream ends early")
    if transfer_syntax != EXPLICIT_BE:
        try:
            return plain(encoded, implicit=transfer_syntax == IMPLICIT_LE)
        except NotPlain:
            pass
    require_few(io.BytesIO(encoded), transfer_syntax, _MOST)
    from adit.dicom.dimse.full_answer import decode

    return decode(encoded, implicit=transfer_syntax == IMPLICIT_LE, little_endian=transfer_syntax != EXPLICIT_BE)


def plain(encoded: bytes, *, implicit: bool) -> dict[str, Any]:
    """By keyword; several values in a list. Raises NotPlain unless all is printable ASCII under keywords at hand."""
    answer: dict[str, Any] = {}
    for tag, written, value in elements(encoded, implicit=implicit):
        known = dictionary.keyword_at_hand(tag)
        if known is None:
            raise NotPlain
        keyword, vr = known
        if written not in ("", vr) or not _PRINTABLE.fullmatch(value):
            raise NotPlain
        answer[keyword] = _value(vr, value.rstrip(b"\0 ").decode("ascii"))
    if str(answer.get("SpecificCharacterSet", "")) not in _ASCII_INSIDE:
        raise NotPlain
    return answer


def _value(vr: str, text: str) -> Any:
    if not text:
        return None if vr == "IS" else ""
    values = text.split("\\")
    if len(values) > 1 and any(value != value.strip() for value in values):
        raise NotPlain  # which blanks count differs from VR to VR
    values = [value.strip() if vr in ("AE", "IS", "UI") else value.rstrip(" ") for value in values]
    if vr == "IS" and not all(map(_WHOLE_NUMBER.fullmatch, values)):
        raise NotPlain
    return values if len(values) > 1 else values[0]
