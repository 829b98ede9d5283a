"""Writes a text in an instance's Specific Character Set (PS3.5 chapter 6, PS3.3 C.12.1.1.2), or says that it cannot.

Called by `trial`; `name_writings` takes its codecs. Nothing is ever replaced: a letter that does not fit is an answer,
not a question mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ISO_8859: Final = {
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
}
"""Python's codecs by defined term."""
_ALONE: Final = ISO_8859 | {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf_8",
    "ISO_IR 203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_ESCAPES: Final = {
    "ISO 2022 IR 100": b"\x1b-A",
    "ISO 2022 IR 101": b"\x1b-B",
    "ISO 2022 IR 109": b"\x1b-C",
    "ISO 2022 IR 110": b"\x1b-D",
    "ISO 2022 IR 126": b"\x1b-F",
    "ISO 2022 IR 127": b"\x1b-G",
    "ISO 2022 IR 138": b"\x1b-H",
    "ISO 2022 IR 144": b"\x1b-L",
    "ISO 2022 IR 148": b"\x1b-M",
    "ISO 2022 IR 166": b"\x1b-T",
    "ISO 2022 IR 203": b"\x1b-b",
    "ISO 2022 IR 149": b"\x1b$)C",
    "ISO 2022 IR 58": b"\x1b$)A",
    "ISO 2022 IR 87": b"",  # Python's codec writes its escape sequences itself
}
_MULTI_BYTE: Final = {"ISO 2022 IR 149": "euc_kr", "ISO 2022 IR 58": "gb2312", "ISO 2022 IR 87": "iso2022_jp"}
_JIS_ESCAPES: Final = re.compile(rb"\x1b(?!\$B|\(B)")  # others than to IR 87 and back


def encode(text: str, terms: Sequence[str]) -> bytes | None:
    """The bytes of `text` under the defined terms of SpecificCharacterSet; None when no one of them can hold all of it.

    No terms, or an empty first one, mean the default repertoire, ASCII. Unknown terms hold ASCII only.
    """
    first = terms[0] if terms else ""
    if text.isascii() and not _yen(first):
        return text.encode("ascii")
    candidates = [(b"", _ALONE.get(first.replace("ISO 2022 IR ", "ISO_IR "), "ascii"))]
    for term in terms[1:]:
        if term in _ESCAPES:
            codec = _MULTI_BYTE.get(term) or _ALONE[term.replace("ISO 2022 IR ", "ISO_IR ")]
            candidates.append((_ESCAPES[term], codec))
    for escape, codec in candidates:
        encoded = _strictly(text, codec)
        if encoded is not None:
            return escape + encoded
    return None


def _yen(term: str) -> bool:
    """JIS X 0201 has a yen sign for the backslash and an overline for the tilde."""
    return term in ("ISO_IR 13", "ISO 2022 IR 13")


def _strictly(text: str, codec: str) -> bytes | None:
    try:
        encoded = text.encode(codec)
    except UnicodeError:
        return None
    if codec == "shift_jis" and (len(encoded) != len(text) or "~" in text or "\\" in text):
        return None
    if codec == "iso2022_jp" and _JIS_ESCAPES.search(encoded):
        return None
    return encoded
