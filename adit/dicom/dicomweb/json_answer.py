"""DICOM JSON (PS3.18 Annex F) to values by keyword, as any other node's answers have them.

Called by `find`, and by `outcome` for its sequences. Texts stay texts: whoever needs a number reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_GROUPS_OF_NAME: Final = ("Alphabetic", "Ideographic", "Phonetic")


_MOST: Final = 700_000
"""Data sets, elements and lists in one answer: each may take a hundred times the memory of the bytes that it is."""


class MalformedError(ValueError):
    """The bytes are no DICOM JSON."""


class TooMuchError(MalformedError):
    """It would not fit into memory."""


def documents(body: bytes) -> list[Mapping[str, Any]]:
    """The data sets of an answer, as JSON has them; none of an empty body. Raises MalformedError.

    JSON is UTF-8. Some servers let texts through as their files have them: those are not ours to read, the rest is.
    """
    if not body.strip():
        return []
    if body.count(b"{") + body.count(b"[") > _MOST:
        raise TooMuchError("it has more elements than can be held")
    try:
        loaded = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise MalformedError("it is no JSON") from error
    found = loaded if isinstance(loaded, list) else [loaded]
    if not all(isinstance(each, dict) for each in found):
        raise MalformedError("it is JSON, but no list of data sets")
    return found


def values(document: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Those wanted, a mapping from tags such as 0020000D to keywords; several values in a list.

    Sequences and bulk data are left out. Raises MalformedError.
    """
    answer: dict[str, Any] = {}
    for tag, element in document.items():
        keyword = wanted.get(tag.upper())
        if keyword is None:
            continue
        if not isinstance(element, dict):
            raise MalformedError("an element in it is none")
        if element.get("vr") == "SQ" or "InlineBinary" in element or "BulkDataURI" in element:
            continue
        texts = [_text(value) for value in listed(element)]
        answer[keyword] = texts if len(texts) > 1 else texts[0] if texts else ""
    return answer


def listed(element: Any) -> Sequence[Any]:
    """The values of an element; none where it has none. Raises MalformedError."""
    value = element.get("Value") if isinstance(element, dict) else None
    if value is None:
        return ()
    if not isinstance(value, list):
        raise MalformedError("an element in it has a value that is no list")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        groups = [str(value.get(group) or "") for group in _GROUPS_OF_NAME]
        return "=".join(groups).rstrip("=")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise MalformedError("a value in it is none that DICOM JSON knows")
