"""How a number that someone was given may stand elsewhere: without its separators, with others, with other zeros.

Asked by `identifiers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONG: Final = 6
"""Characters that do not stand within others by chance."""
_SHORTEST: Final = 2
_FEWEST_DIGITS: Final = 3
_LONGEST_TEXT: Final = 10_000
_LONGEST: Final = 64  # in LO; of a longer one its beginning is looked for
_SEPARATORS: Final = re.compile(rb"[ ._/-]+")
_BETWEEN: Final = rb"[ ._/-]?"
_BETWEEN_OF_TELEPHONE: Final = rb"[ ._/()+-]{0,3}"
_SUBSCRIBER: Final = 7
"""Digits at the end of a telephone number that tell whose it is, with whatever codes of area and country before it."""
_ALONE: Final = rb"[0-9a-z\x80-\xff]"


@dataclass(frozen=True, slots=True)
class Number:
    """In lower case. `core` has neither separators nor leading zeros; `part` is a pattern for a first look."""

    core: bytes
    part: bytes
    pattern: re.Pattern[bytes]

    @property
    def is_long(self) -> bool:
        return len(self.core) >= LONG

    @property
    def is_digits(self) -> bool:
        return self.core.isdigit()


def number_of(value: bytes) -> Number | None:
    """None where it is too short to be looked for."""
    given = value.strip(b"\0 ").lower()
    plain = _SEPARATORS.sub(b"", given)
    core = plain.lstrip(b"0")
    core = core if len(core) >= _FEWEST_DIGITS else plain
    shortest = _FEWEST_DIGITS if core.isdigit() else _SHORTEST
    if len(core) < shortest or len(set(core)) < 2:
        return None
    whole, core = core, core[:_LONGEST]
    if len(core) >= LONG:
        part = _joined(core, _BETWEEN)
        before = rb"[0-9]" if core[:1].isdigit() else b""
        behind = rb"[0-9]" if core[-1:].isdigit() and core == whole else b""
    else:
        part = b"|".join(re.escape(each) for each in sorted({given, plain, core}))
        before = behind = _ALONE
    zeros = b"0*" if core[:1].isdigit() else b""  # what parts zeros from each other is no digit, which may stand before
    pattern = (b"(?<!%s)" % before if before else b"") + zeros + b"(?:%s)" % part
    return Number(core, part, re.compile(pattern + (b"(?!%s)" % behind if behind else b"")))


def telephone_of(value: bytes) -> Number | None:
    """By the digits at its end: area and country may be written in many ways. None where it has too few of them."""
    core = re.sub(rb"[^0-9]+", b"", value[:_LONGEST])[-_SUBSCRIBER:]
    if len(core) < _SUBSCRIBER or len(set(core)) < 2:
        return None
    part = _joined(core, _BETWEEN_OF_TELEPHONE)
    return Number(core, part, re.compile(part + b"(?![0-9])"))


def addresses_in(value: bytes) -> list[bytes]:
    """The telephone numbers and mail addresses in PatientTelecomInformation, which has them in some notation."""
    words = re.split(rb"[\s;,|^&~<>]+|tel:|mailto:|fax:", value[:_LONGEST_TEXT].lower())
    return [word for word in words if b"@" in word or sum(letter in b"0123456789" for letter in word) >= _SUBSCRIBER]


def _joined(core: bytes, between: bytes) -> bytes:
    return between.join(re.escape(core[at : at + 1]) for at in range(len(core)))
