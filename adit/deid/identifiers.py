"""A patient's own names, numbers and UIDs, as they might still stand somewhere, and whether they do.

Made of the original, independent of what the profile decides. The engine empties what still holds one; the
verification refuses what holds one all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from adit.deid.birth_date import writings_of_date
from adit.deid.dictionary import is_registered
from adit.deid.identifying import (
    ADDRESS,
    BIRTH_DATE,
    INSTITUTION,
    NAMES,
    NUMBERS,
    STUDY_DATE,
    TELECOM,
    TELEPHONES,
    UIDS,
)
from adit.deid.name_writings import Writings
from adit.deid.number_writings import LONG, Number, addresses_in, number_of, telephone_of
from adit.deid.quarantine import Quarantine, Reason

_CHARSET: Final = 0x00080005
_SHORTEST_NUMBER: Final = 4
_SHORTEST_INSTITUTION: Final = 8
_AMONG_NUMBERS: Final = ((1024, 4), (2**31, 5))
"""In values of so many bytes, a word of so many letters does not stand by chance."""
_NUMBERS_IN_TEXT: Final = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""VRs whose digits mean something else than a number that someone was given."""
_COUNTS: Final = frozenset({"DS", "IS"})
_BYTES: Final = frozenset({"AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"})
_NOBODY: Final = frozenset(
    {b"anonymous", b"anonymized", b"unknown", b"none", b"test", b"patient", b"name", b"null", b"removed", b"phantom"}
)
_TERMS: Final = frozenset(
    b"text code num pname container contains date datetime time uidref image composite waveform scoord scoord3d "
    b"tcoord table separate continuous complete partial verified unverified original derived primary secondary axial "
    b"localizer other none yes no left right head neck chest abdomen pelvis spine hand foot monochrome1 monochrome2 "
    b"rgb patient gantry point circle polyline".split()
) | {b"inferred from", b"has obs context", b"has concept mod", b"has properties", b"selected from", b"has acq context"}
"""Defined terms of DICOM that happen to be names, too."""
_PATIENTS: Final = 200
MOST_WORDS: Final = 5_000
"""Every text may have to be searched for each of them; an instance of some dozens of people has some hundreds."""
MOST_COMPARISONS: Final = 100_000_000
"""Of values with words, in one look at an instance: half a million values and two hundred words, as large ones have."""
_AT_ONCE: Final = 256  # bytes of a value that are searched as quickly as a few


@dataclass(frozen=True, slots=True)
class Identifiers:
    """In lower case. `parts` stand within other words, too, `words` alone; `uids` anywhere; `runs` are letters of two
    bytes (JIS X 0208), which stand among others of their kind.

    The ways to write a date are many, and every instance is searched: each is looked for only where the part
    occurs that it shares with others.
    """

    words: tuple[bytes, ...]
    numbers: tuple[Number, ...]
    first_look: re.Pattern[bytes]  # for any of them, however it stands there
    uids: tuple[bytes, ...] = ()
    dates: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    parts: tuple[bytes, ...] = ()
    runs: tuple[bytes, ...] = ()
    maps_uids: bool = True  # whether UIDs are replaced, so that none of them may stay, nor a number be told by one
    replaced: frozenset[bytes] = frozenset()  # UIDs that texts must not tell any more

    @property
    def count(self) -> int:
        """How many comparisons a value needs."""
        return 1 + len(self.words) + len(self.parts) + len(self.runs) + 4 * len(self.numbers)

    def may_stand_in(self, data: bytes) -> bool:
        """Whether any of them occurs in these bytes, by chance perhaps."""
        lowered = _squeezed(data)
        return self._may_stand_in(lowered) or (_hides(lowered) and self._may_stand_in(_visible(lowered)))

    def _may_stand_in(self, lowered: bytes) -> bool:
        if self.first_look.search(lowered):
            return True
        for uid in self.uids:
            if uid in lowered:
                return True
        if self.tells_uid(lowered):
            return True
        return any(part in lowered and any(each in lowered for each in ways) for part, ways in self.dates)

    def stands_in(self, value: bytes, vr: str) -> bool:
        """Whether one of them is told by this value."""
        lowered = value.lower()
        return self._stands_in(lowered, vr) or (_hides(lowered) and self._stands_in(_visible(lowered), vr))

    def tells_uid(self, text: bytes) -> bool:
        """Whether a UID stands there that was replaced, or one of that length which names no class or the like."""
        if not self.maps_uids or not (self.replaced or _MANY_PARTS.search(text)):
            return False
        return any(
            uid in self.replaced or (_is_long_uid(uid) and not is_registered(uid.decode("ascii")))
            for uid in uids_in(text)
        )

    def _stands_in(self, lowered: bytes, vr: str) -> bool:
        if any(uid in lowered for uid in self.uids):
            return True
        if vr != "UI" and self.tells_uid(lowered):
            return True
        if vr in _BYTES:
            return self._stands_in_bytes(lowered) or self._stands_in_bytes(_squeezed(lowered))
        if lowered.strip(b"\0 ") in _NOBODY:
            return False
        if vr == "CS":
            parts = lowered.split(b"\\")
            lowered = b"\\".join(part for part in parts if part.strip(b" \0") not in _TERMS)
        if vr in _NUMBERS_IN_TEXT and self._is_whole_in(lowered, vr):
            return True
        return self._stands_in_text(lowered, vr) or (vr == "UN" and self._stands_in_text(_squeezed(lowered), vr))

    def _stands_in_text(self, lowered: bytes, vr: str) -> bool:
        for part in self.parts:  # a loop, as any() takes twice as long
            if part in lowered:
                return True
        if self.runs and self._stands_in_run(lowered):
            return True
        digits = vr not in _NUMBERS_IN_TEXT
        shortest = 0 if digits and vr != "CS" else _SHORTEST_NUMBER  # a defined term, or a number's unit
        for number in self.numbers if vr != "AS" else ():
            if len(number.core) >= shortest and (digits or not number.is_digits) and number.pattern.search(lowered):
                return True
        for word in self.words:
            if word in lowered and (digits or not _is_number(word)) and _told(word, lowered):
                return True
        return any(_told(each, lowered) for each in self._dates_in(lowered) if digits or not _is_number(each))

    def _stands_in_run(self, lowered: bytes) -> bool:
        return any(_is_aligned(each, run) for run in _RUN.findall(lowered) for each in self.runs)

    def _stands_in_bytes(self, lowered: bytes) -> bool:
        shortest = next(letters for size, letters in _AMONG_NUMBERS if len(lowered) <= size)
        if any(
            len(each) >= shortest and not _is_number(each) and each in lowered for each in (*self.words, *self.parts)
        ):
            return True
        for number in self.numbers:
            if number.is_long and number.pattern.search(lowered):
                return True
            if len(number.core) >= shortest and not number.is_digits and number.core in lowered:
                return True
        return any(len(each) >= LONG and _told(each, lowered) for each in self._dates_in(lowered))

    def _dates_in(self, lowered: bytes) -> Iterator[bytes]:
        return (each for part, ways in self.dates if part in lowered for each in ways if each in lowered)

    def _is_whole_in(self, lowered: bytes, vr: str) -> bool:
        """Whether one is all of a number, or of a UID's component."""
        if vr not in _COUNTS and vr != "UI":
            return False
        if vr == "UI" and not self.maps_uids:
            return False
        values = lowered.replace(b".", b"\\") if vr == "UI" else lowered
        whole = {part.strip(b" \0").lstrip(b"0") for part in values.split(b"\\")}
        if any(number.is_long and number.is_digits and number.core in whole for number in self.numbers):
            return True
        return any(each.isdigit() and each in whole for each in self._dates_in(lowered))


def identifiers_of(known: Mapping[int, bytes], names: Iterable[bytes], kept: frozenset[int]) -> Identifiers:
    """All but UIDs: from the raw values of IDENTIFYING in the original but those that are `kept`, and the names of
    others that were found in it.

    Raises Quarantine when they are more than can be looked for.
    """
    values = {tag: value for tag, value in known.items() if tag not in kept}
    charset = values.get(_CHARSET, b"")
    found = Writings()
    found.add(values.get(ADDRESS, b""), charset, joined=False)
    for tag in INSTITUTION:
        found.add_whole(values.get(tag, b""), charset, _SHORTEST_INSTITUTION)
    for name in [*(values.get(tag, b"") for tag in NAMES), *names]:
        found.add(name, charset)
        _require_few(len(found.words) + len(found.parts))
    numbers: dict[bytes, Number] = {}
    for number in _numbers_of(values):
        if number is not None and number.core not in _NOBODY:
            numbers[number.pattern.pattern] = number
        _require_few(len(numbers))
    words = tuple(sorted(each for each in found.words - _NOBODY if not each.isdigit() or len(each) >= _SHORTEST_NUMBER))
    parts, runs = tuple(sorted(found.parts - _NOBODY)), tuple(sorted(found.runs))
    ordered = tuple(numbers[each] for each in sorted(numbers))
    return Identifiers(
        words=words,
        numbers=ordered,
        first_look=_first_look(words, (*parts, *runs), ordered),
        dates=_dates_of(values),
        parts=parts,
        runs=runs,
        maps_uids=not kept >= UIDS,
    )


def _dates_of(values: Mapping[int, bytes]) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    found = writings_of_date(values.get(BIRTH_DATE, b"").strip(b"\0 "))
    study = writings_of_date(values.get(STUDY_DATE, b"").strip(b"\0 "), short_years=False)
    for part, ways in study.items():
        found[part] = tuple(sorted({*found.get(part, ()), *ways}))
    return tuple(sorted(found.items()))


def _numbers_of(values: Mapping[int, bytes]) -> Iterator[Number | None]:
    for tag in NUMBERS:
        for value in values.get(tag, b"").split(b"\\"):
            yield number_of(value)
    addresses = addresses_in(values.get(TELECOM, b""))
    yield from map(number_of, addresses)
    yield from map(telephone_of, (*values.get(TELEPHONES, b"").split(b"\\"), *addresses))


@dataclass(slots=True)
class Search:
    """One look at an instance. Bounded, as many values and many words make more comparisons than anybody waits for."""

    identifiers: Identifiers
    left: int = field(default_factory=lambda: MOST_COMPARISONS)

    def finds(self, value: bytes, vr: str) -> bool:
        """As `Identifiers.stands_in`. Raises Quarantine."""
        self.left -= self.identifiers.count * (1 + len(value) // _AT_ONCE)
        if self.left < 0:
            raise Quarantine(Reason.TOO_LARGE, "", "it has more values and names than can be compared")
        return self.identifiers.stands_in(value, vr)


def _require_few(count: int) -> None:
    if count > MOST_WORDS:
        raise Quarantine(Reason.TOO_LARGE, "", f"its people have more than {MOST_WORDS} names or numbers")


@lru_cache(_PATIENTS)
def _first_look(words: tuple[bytes, ...], parts: tuple[bytes, ...], numbers: tuple[Number, ...]) -> re.Pattern[bytes]:
    """For any of them, however it stands there. What holds a shorter one of them needs not be looked for."""
    literals: list[bytes] = []
    for each in sorted({*words, *parts}, key=len):
        if len(literals) > _FEW or not any(shorter in each for shorter in literals):
            literals.append(each)
    ways = [*(re.escape(each[:_LONGEST]) for each in literals), *(number.part for number in numbers)]
    return re.compile(b"|".join(ways) if ways else rb"(?!)")


_FEW: Final = 500
_LONGEST: Final = 64  # bytes by which a first look tells a word


_UID: Final = re.compile(rb"(?<![0-9])(?<![0-9]\.)[0-9]+(?:\.[0-9]+){2,}")
_MANY_PARTS: Final = re.compile(rb"(?:\.[0-9]+){5}")
_SHORTEST_UID: Final = 16


def uids_in(text: bytes) -> list[bytes]:
    """What may be one, from three parts on."""
    return _UID.findall(text)


def _is_long_uid(uid: bytes) -> bool:
    """Versions of software have fewer parts."""
    return len(uid) >= _SHORTEST_UID and _MANY_PARTS.search(uid) is not None


_RUN: Final = re.compile(rb"\x1b\$[b@]([^\x1b]+)")
_INVISIBLE: Final = re.compile(rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81\xa0|\xef\xbb\xbf|(?<=[a-z])\xad(?=[a-z])")
"""Soft hyphens, joiners and marks of zero width, in UTF-8; the first in ISO 8859, too."""


def _hides(lowered: bytes) -> bool:
    """Whether something may stand in it that nobody sees. (Much faster than the pattern.)"""
    return b"\xad" in lowered or b"\xe2\x80" in lowered or b"\xe2\x81\xa0" in lowered or b"\xef\xbb\xbf" in lowered


def _visible(lowered: bytes) -> bytes:
    return _INVISIBLE.sub(b"", lowered)


def _squeezed(data: bytes) -> bytes:
    """In lower case and without NUL: what was UTF-16 stands there as it does in other character sets."""
    return data.translate(_LOWER, b"\0")


_LOWER: Final = bytes(range(256)).lower()


def _is_aligned(letters: bytes, run: bytes) -> bool:
    """Whether they stand there, and not the second half of one letter and the first of the next."""
    at = run.find(letters)
    while at >= 0 and at % 2:
        at = run.find(letters, at + 1)
    return at >= 0


def _told(word: bytes, lowered: bytes) -> bool:
    """As a word of its own; a long one within another word, too, but a number not within another number."""
    at = lowered.find(word)
    while at >= 0:
        before, after = lowered[at - 1 : at] if at else b"", lowered[at + len(word) : at + len(word) + 1]
        if not (_joins(before) or _joins(after)):
            return True
        longer = (word[-1:].isdigit() and after.isdigit()) or (word[:1].isdigit() and _digits_end_at(lowered, at))
        if len(word) >= LONG and not longer:
            return True
        at = lowered.find(word, at + 1)
    return False


def _digits_end_at(lowered: bytes, at: int) -> bool:
    """Whether what stands before a number makes it another one: zeros alone do not."""
    while at and lowered[at - 1 : at] == b"0":
        at -= 1
    return lowered[max(at - 1, 0) : at].isdigit()


def _is_number(word: bytes) -> bool:
    """Control characters are halves of letters, of Thai in UTF-16."""
    return not any(97 <= letter <= 122 or letter >= 128 or letter < 32 for letter in word)


def _joins(letter: bytes) -> bool:
    return letter.isalnum() or letter >= b"\x80"
