"""A patient's own names, numbers and UIDs, as they might still stand somewhere, and whether they do.

Made of the original, independent of what the profile decides. The engine empties what still holds one; the
verification refuses what holds one all the same.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from adit.deid.identifying import ADDRESS, BIRTH_DATE, NAMES, NUMBERS
from adit.deid.quarantine import Quarantine, Reason

_CHARSET: Final = 0x00080005
_SHORTEST_NAME: Final = 3
_SHORTEST_NUMBER: Final = 4
_UNMISTAKABLE: Final = 6  # letters of a word that no other word contains by chance, or digits of a number
_AMONG_NUMBERS: Final = ((1024, 4), (2**31, 5))
"""In values of so many bytes, a word of so many letters does not stand by chance."""
_SPLIT: Final = re.compile(rb"[\^=\\\s,;.()/_-]+")
_SPLIT_TEXT: Final = re.compile(r"[\^=\\\s,;.()/_-]+")
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
_CODECS: Final = {
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
}


@dataclass(frozen=True, slots=True)
class Identifiers:
    """In lower case. `words`, `numbers` and `dates` stand in texts; `uids` anywhere.

    The ways to write a date are many, and every instance is searched: each is looked for only where the part
    occurs that it shares with others.
    """

    words: tuple[bytes, ...]
    numbers: tuple[bytes, ...]
    uids: tuple[bytes, ...]
    dates: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()

    def may_stand_in(self, data: bytes) -> bool:
        """Whether any of them occurs in these bytes, by chance perhaps."""
        lowered = data.lower()
        for each in self.words:
            if each in lowered:
                return True
        for each in self.numbers:
            if each in lowered:
                return True
        for each in self.uids:
            if each in lowered:
                return True
        return any(part in lowered and any(each in lowered for each in ways) for part, ways in self.dates)

    def stands_in(self, value: bytes, vr: str) -> bool:
        """Whether one of them is told by this value."""
        lowered = value.lower()
        if any(uid in lowered for uid in self.uids):
            return True
        told = [each for each in (*self.words, *self.numbers) if each in lowered]
        told += [each for part, ways in self.dates if part in lowered for each in ways if each in lowered]
        if not told:
            return False
        if vr in _BYTES:
            shortest = next(letters for size, letters in _AMONG_NUMBERS if len(value) <= size)
            return any(len(each) >= shortest and not _is_number(each) for each in told)
        if vr in _NUMBERS_IN_TEXT:
            whole = {part.strip(b" \0").lstrip(b"0") for part in lowered.split(b"\\")} if vr in _COUNTS else set()
            if any(len(each) >= _UNMISTAKABLE and each.lstrip(b"0") in whole for each in told):
                return True
            told = [each for each in told if not _is_number(each)]
        if vr == "CS":
            parts = lowered.split(b"\\")
            lowered = b"\\".join(part for part in parts if part.strip(b" \0") not in _TERMS)
        return any(_told(each, lowered) for each in told)


MOST_WORDS: Final = 5_000
"""Every text may have to be searched for each of them; an instance of some dozens of people has some hundreds."""


def identifiers_of(known: Mapping[int, bytes], names: Iterable[bytes], kept: frozenset[int]) -> Identifiers:
    """All but UIDs: from the raw values of IDENTIFYING in the original but those that are `kept`, and the names of
    others that were found in it.

    Raises Quarantine when they are more than can be looked for.
    """
    values = {tag: value for tag, value in known.items() if tag not in kept}
    words: set[bytes] = set()
    for name in [*(values.get(tag, b"") for tag in (*NAMES, ADDRESS)), *names]:
        for parts in _parts(name, values.get(_CHARSET, b"")):
            words.update(part for part in parts if len(part) >= _SHORTEST_NAME)
            if min(map(len, parts), default=_SHORTEST_NAME) < _SHORTEST_NAME:
                words.update(_together(parts))
        _require_few(words)
    numbers: set[bytes] = set()
    for tag in NUMBERS:
        for value in values.get(tag, b"").split(b"\\"):
            number = value.strip(b"\0 ").lower()
            if len(number) >= _SHORTEST_NUMBER and len(set(number)) > 1:
                numbers.add(number)
        _require_few(numbers)
    return Identifiers(
        tuple(sorted(word for word in words - _NOBODY if not word.isdigit() or len(word) >= _SHORTEST_NUMBER)),
        tuple(sorted(numbers - _NOBODY)),
        (),
        tuple(sorted(_dates(values.get(BIRTH_DATE, b"").strip(b"\0 ")).items())),
    )


def _require_few(words: set[bytes]) -> None:
    if len(words) > MOST_WORDS:
        raise Quarantine(Reason.TOO_LARGE, "", f"its people have more than {MOST_WORDS} names or numbers")


def _told(word: bytes, lowered: bytes) -> bool:
    """As a word of its own; a long one within another word, too, but a number not within another number."""
    at = lowered.find(word)
    while at >= 0:
        before, after = lowered[at - 1 : at] if at else b"", lowered[at + len(word) : at + len(word) + 1]
        if not (_joins(before) or _joins(after)):
            return True
        longer = (word[-1:].isdigit() and after.isdigit()) or (word[:1].isdigit() and _digits_end_in(lowered[:at]))
        if len(word) >= _UNMISTAKABLE and not longer:
            return True
        at = lowered.find(word, at + 1)
    return False


def _digits_end_in(before: bytes) -> bool:
    """Whether what stands before a number makes it another one: zeros alone do not."""
    return bool(before[len(before.rstrip(b"0123456789")) :].strip(b"0"))


def _together(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The first two parts of a name of which one is too short to be looked for alone."""
    if len(parts) > 1:
        for first, second in (parts[:2], parts[1::-1]):
            for between in (b" ", b"^", b", ", b",", b"_", b"-", b"."):
                yield first + between + second


def _is_number(word: bytes) -> bool:
    return not any(97 <= letter <= 122 or letter >= 128 for letter in word)


def _joins(letter: bytes) -> bool:
    return letter.isalnum() or letter >= b"\x80"


def _parts(name: bytes, charset: bytes) -> Iterator[list[bytes]]:
    """A name's parts in lower case: as they are, and in character sets in which they may stand elsewhere."""
    plain = b"\x1b" not in name
    if plain:  # of escape sequences nothing is split
        yield [part for part in _SPLIT.split(name.strip(b"\0 ").lower()) if part]
    if plain and name.isascii():
        return
    for text in _texts_of(name, charset):
        for case in (text, text.lower(), text.upper(), text.translate(_PLAIN)):
            parts = [part for part in _SPLIT_TEXT.split(case.strip("\0 ")) if part]
            for codec in _ELSEWHERE:
                with suppress(UnicodeError):
                    yield [part.encode(codec).removesuffix(b"\x1b(B").lower() for part in parts]


def _texts_of(name: bytes, charset: bytes) -> list[str]:
    """What the bytes mean by pydicom, which knows code extensions; by the first term alone; and by themselves, as many
    a sender writes UTF-8 or Latin-1 whatever it declares."""
    from pydicom.charset import convert_encodings, decode_bytes

    terms = [term.strip(b" \0").decode("ascii", errors="replace") for term in charset.split(b"\\")]
    texts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UnicodeError, LookupError, ValueError):
            texts.append(decode_bytes(name, convert_encodings(terms), {ord("^"), ord("=")}))
    with suppress(UnicodeError):
        texts.append(name.decode(_CODECS.get(terms[0].replace("ISO 2022 IR ", "ISO_IR "), "latin_1")))
    try:
        texts.append(name.decode("utf_8"))
    except UnicodeError:
        texts.append(name.decode("latin_1"))
    return texts


_ELSEWHERE: Final = ("utf_8", "latin_1", "gb18030", "euc_kr", "iso2022_jp")


_PLAIN: Final = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
        "é": "e",
        "è": "e",
        "á": "a",
        "ó": "o",
    }
)


def _dates(value: bytes) -> dict[bytes, tuple[bytes, ...]]:
    """A birth date as people write it, by a part that several ways have in common."""
    if not re.fullmatch(rb"\d{8}", value) or not 1 <= int(value[4:6]) <= 12:
        return {}
    year, month, day = value[:4], value[4:6], value[6:]
    name = _MONTHS[int(month) - 1]
    m, d = month.lstrip(b"0"), day.lstrip(b"0")
    ways: dict[bytes, set[bytes]] = {
        year: {value, *(between.join((year, month, day)) for between in (b"-", b"/", b"."))}
    }
    for y in (year, year[2:]):
        for between in (b".", b"/", b"-", b" ", b""):
            part = year if y == year else (between or name) + y
            orders = {(number, name, y) for number in (day, d)}
            if between in (b".", b"/", b"-"):
                orders |= {(day, month, y), (d, m, y), (month, day, y), (m, d, y)}
            ways.setdefault(part, set()).update(between.join(order) for order in orders)
        for number in (day, d):
            part = year if y == year else b" " + y
            ways.setdefault(part, set()).update(name + b" " + number + comma + b" " + y for comma in (b"", b","))
    return {part: tuple(sorted(written)) for part, written in ways.items()}


_MONTHS: Final = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
