"""Whether an answer really matches a query, whatever the peer that gave it filtered.

Called by every node's `find` on each answer before it is counted: many PACSs ignore optional keys,
and what a folder holds is matched by this alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import MutableSequence
from functools import lru_cache
from typing import Any, Final

from adit.dicom import dictionary
from adit.dicom.node import Answer, Query

_NOT_MATCHED: Final = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"})
_NUMBERS: Final = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_WITHOUT_WILDCARDS: Final = frozenset({"UI", "DA", "TM", "DT", *_NUMBERS})  # PS3.4 C.2.2.2.4
_UNREADABLE: Final = (ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError)  # pydicom's
_RANGE_OF_DT: Final = re.compile(r"([0-9.]*(?:[+-][0-9]{4})?)-([0-9.]*(?:[+-][0-9]{4})?)")


def keep(answer: Answer, query: Query) -> bool:
    """Whether `answer` matches all keys of `query` (PS3.4 C.2.2.2), by these rules:

    - An empty key, and `*` alone, match everything.
    - An attribute that the answer does not have cannot speak against it: a peer that does not support
      an optional key returns it not at all (PS3.4 C.2.2.1.3). An attribute that is there and empty, or
      that no reader of its VR can make sense of, matches no value.
    - Several values in the key (backslash) or in the answer: any of them with any of them.
    - Texts: `*` and `?`, whole value, case counts. Names (PN): case does not count, trailing empty
      components neither, and one component group of several is enough.
    - Dates and times: equal, or within a range with `-`, open ends allowed; a time of lower precision
      means all of it. Date-times with a UTC offset are left to the peer.
    - Numbers as numbers: `1`, `01` and `+1` are the same. UIDs exactly.

    Raises ValueError for a key that is no DICOM keyword.
    """
    return all(_matches(answer, keyword, asked) for keyword, asked in query.keys.items() if keyword not in _NOT_MATCHED)


def _matches(answer: Answer, keyword: str, asked: str) -> bool:
    entry = dictionary.entry(keyword)
    if entry is None:
        raise ValueError(f"{keyword} is no DICOM keyword")
    _, vr = entry
    alternatives = [value for value in (part.strip(" \0") for part in asked.split("\\")) if value]
    if not alternatives or "*" in alternatives or vr == "SQ" or keyword not in answer:
        return True
    try:
        values = _values(answer.get(keyword))
    except _UNREADABLE:
        return False
    return any(_value_matches(value, pattern, vr) for value in values for pattern in alternatives)


def _values(value: Any) -> list[str]:
    several = value if isinstance(value, (MutableSequence, tuple)) else [value]
    texts = ("" if one is None else str(one).strip(" \0") for one in several)
    return [text for text in texts if text]


def _value_matches(value: str, pattern: str, vr: str) -> bool:
    if vr in ("DA", "TM", "DT"):
        return _in_range(value, pattern, vr)
    if vr in _NUMBERS:
        return _number(value) == _number(pattern)
    if vr == "PN":
        return _name_matches(value, pattern)
    if vr in _WITHOUT_WILDCARDS:
        return value == pattern
    return _wildcard(pattern).fullmatch(value) is not None


def _name_matches(value: str, pattern: str) -> bool:
    """Of one name: `Yamada^Tarou=山田^太郎` is found by the whole, by either group, in any case."""
    wanted = _wildcard(_plain_name(pattern))
    groups = [value] if "=" in pattern else [value, *value.split("=")]
    return any(wanted.fullmatch(_plain_name(group)) is not None for group in groups if group)


def _plain_name(name: str) -> str:
    folded = unicodedata.normalize("NFC", name.casefold())
    return "=".join(group.rstrip("^ ") for group in folded.split("=")).rstrip("=")


@lru_cache(maxsize=256)
def _wildcard(pattern: str) -> re.Pattern[str]:
    """`*` is any run of characters, `?` any one of them, everything else itself."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _in_range(value: str, pattern: str, vr: str) -> bool:
    low, high = _bounds(pattern, vr)
    value = _digits(value, vr)
    if any("+" in text or "-" in text for text in (value, low, high)):
        return True
    earliest, latest = _filled(value, "0"), _filled(value, "9")
    return (not low or latest >= _filled(low, "0")) and (not high or earliest <= _filled(high, "9"))


def _bounds(pattern: str, vr: str) -> tuple[str, str]:
    if vr == "DT":
        match = _RANGE_OF_DT.fullmatch(pattern)
        low, high = (match[1], match[2]) if match is not None else (pattern, pattern)
    else:
        low, dash, high = pattern.partition("-")
        if not dash:
            high = low
    return _digits(low.strip(), vr), _digits(high.strip(), vr)


def _digits(text: str, vr: str) -> str:
    """Without the separators of ACR-NEMA dates (`1993.08.22`) and times (`10:09:33`), PS3.5 6.2."""
    return text.replace(".", "") if vr == "DA" else text.replace(":", "")


def _filled(text: str, digit: str) -> str:
    """To the full precision of a date and time with fraction, so that texts compare as moments do."""
    whole, _, fraction = text.partition(".")
    return whole.ljust(14, digit) + "." + fraction.ljust(6, digit)
