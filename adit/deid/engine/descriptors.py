"""Cleans descriptions: words of a vocabulary and short numbers stay, everything else goes (PS3.15 E.3.5).

Called for attributes that an option keeps when they are cleaned. Nobody's name is recognised here; what is not
known to be harmless is dropped, so no name needs to be.
"""

from __future__ import annotations

import re
from typing import Final

from adit.deid.standard import standard

_WORD: Final = re.compile(rb"[A-Za-z0-9\x1b\x80-\xff]+")
_NUMBER: Final = re.compile(rb"[a-z]\d{1,2}|\d{1,3}(mm|cm|kv|s|ms|mg|ml)")
_DIGITS: Final = 3


def cleaned(value: bytes) -> bytes:
    """What may stay of a text, in whatever character set: words are looked at as ASCII."""
    vocabulary = standard().vocabulary
    words = list(_WORD.finditer(value))
    kept: list[bytes] = []
    for index, match in enumerate(words):
        word = match[0].lower()
        if word.isdigit():
            known = len(word) <= _DIGITS and not any(each[0].isdigit() for each in _beside(words, index))
        else:
            known = word.isascii() and (word.decode("ascii") in vocabulary or _NUMBER.fullmatch(word) is not None)
        if known:
            kept.append(match[0])
    return b" ".join(kept)


def _beside(words: list[re.Match[bytes]], index: int) -> list[re.Match[bytes]]:
    """Two numbers side by side may be part of a date, a phone number or an address."""
    return words[max(0, index - 1) : index] + words[index + 1 : index + 2]
