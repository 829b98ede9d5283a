"""How a person's name may stand elsewhere: its parts alone and joined, in other cases, character sets, without accents.

Asked by `identifiers` for each name that an instance tells of.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import permutations
from typing import Final

from adit.deid.character_set import ISO_8859

LONG: Final = 5
"""Letters of a part that no other word contains by chance."""
SHORTEST: Final = 3
"""Letters of a part that is looked for alone."""

_LONGEST: Final = 64  # letters; of a longer part its beginning is looked for
_LONGEST_TEXT: Final = 1024  # in ST
_MOST_PARTS: Final = 4  # of a group are joined
_UNDECLARED: Final = 4  # bytes that are no ASCII: two letters
_APART: Final = re.compile(r"[\^\\\s,;.()/_'’´`‐-]+")
_BETWEEN: Final = ("", " ", "^", ", ", ",", "_", "-", ".", "'")
_MOST_TERMS: Final = 8
_DENSE: Final = 0x2E80  # from here on a letter is a syllable or a word, and blanks do not part words
_CODECS: Final = (
    *("utf_8", "latin_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_8"),
    *("iso8859_9", "iso8859_15", "tis_620", "shift_jis", "iso2022_jp", "euc_kr", "gb18030", "utf_16_le", "utf_16_be"),
)
"""Of all character sets of PS3.3 C.12.1.1.2, as items of sequences may declare others; and UTF-16, for bytes."""
_DECLARED: Final = ISO_8859 | {
    "ISO_IR 13": "shift_jis",
    "ISO_IR 58": "gb18030",
    "ISO_IR 149": "euc_kr",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf_8",
    "ISO_IR 203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gb18030",
}
_ESCAPE: Final = re.compile(r"\x1b[ -/]+[0-~]")  # of a code extension (ISO 2022)
_LETTERS: Final = str.maketrans({"ß": "ss", "ẞ": "SS", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"})
_MORE: Final = str.maketrans({"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ı": "i", "þ": "th", "Þ": "Th", "ð": "d"})
_UMLAUTS: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "Å": "Aa"}
)


@dataclass(slots=True)
class Writings:
    """Bytes in lower case, NUL left out. `parts` are told of within other words, too, `words` only alone, `runs` among
    other letters of JIS X 0208."""

    parts: set[bytes] = field(default_factory=set)
    words: set[bytes] = field(default_factory=set)
    runs: set[bytes] = field(default_factory=set)

    def add(self, name: bytes, charset: bytes, *, joined: bool = True) -> None:
        self._add_undeclared(name, charset)
        for text in {*(texts := _texts_of(name, charset)), *map(_visible, texts), *map(_unescaped, texts)}:
            turkish = b"148" in charset or not text.isascii()
            for group in text.strip("\0 ").split("="):
                parts = [part for part in _APART.split(group) if part]
                for part in parts:
                    self._add(part, alone=True)
                    for other in _in_turkish(part) if turkish else ():
                        self._add(other, alone=True)
                if joined:
                    self._add_joined(parts)

    def add_whole(self, value: bytes, charset: bytes, shortest: int) -> None:
        """A text that tells of someone only as a whole."""
        for text in _texts_of(value, charset):
            if len(text.strip("\0 ")) >= shortest:
                self.parts.update(_encoded(text.strip("\0 ")[:_LONGEST_TEXT]))

    def _add_undeclared(self, name: bytes, charset: bytes) -> None:
        """Letters of several bytes in a character set that is not declared: nobody knows them, but the same bytes mean
        the same."""
        if not charset.strip(b" \0") and not name.isascii() and b"\x1b" not in name:
            parts = re.split(rb"[\x00 ^=\\]+", name.lower())
            self.parts.update(each[:_LONGEST] for each in parts if sum(byte >= 0x80 for byte in each) >= _UNDECLARED)

    def _add_joined(self, parts: list[str]) -> None:
        for first, second in permutations(parts[:_MOST_PARTS], 2):
            if _is_long(first[:_LONGEST]) or _is_long(second[:_LONGEST]):
                continue  # found already
            both = len(first) >= SHORTEST and len(second) >= SHORTEST
            for between in _BETWEEN[: 1 if both else None]:
                self._add(first + between + second, alone=False)
        if len(parts) > 2 and all(map(_is_dense, parts)):
            self._add("".join(parts), alone=False)

    def _add(self, text: str, *, alone: bool) -> None:
        text = text[:_LONGEST]
        dense = _is_dense(text)
        if alone and len(text) < (2 if dense else SHORTEST):
            return
        found = self.parts if _is_long(text) else self.words
        found.update(written for written in _encoded(text) if len(written) >= SHORTEST)
        if dense and (run := _run_of(text)):
            self.runs.add(run)


def _run_of(text: str) -> bytes:
    """The bytes of a text that is JIS X 0208 as a whole, without the escapes around it."""
    with suppress(UnicodeError):
        before, code, rest = text.encode("iso2022_jp").partition(b"\x1b$B")
        run, _, after = rest.partition(b"\x1b(B")
        if code and not before and not after:
            return run.lower()
    return b""


def _unescaped(text: str) -> str:
    """pydicom leaves some escape sequences where they stand."""
    return _ESCAPE.sub("", text)


def _in_turkish(part: str) -> set[str]:
    """In lower and upper case, where the letter i with and without its dot are two."""
    return {part.replace("I", "ı").replace("İ", "i").lower(), part.replace("i", "İ").replace("ı", "I").upper()} - {part}


def _visible(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _is_dense(text: str) -> bool:
    return any(ord(letter) >= _DENSE for letter in text)


def _is_long(text: str) -> bool:
    letters = sum(letter.isalpha() for letter in text)
    return letters >= (2 if _is_dense(text) else LONG)


def _encoded(text: str) -> Iterator[bytes]:
    if text.isascii():
        yield text.lower().encode("ascii")
        return
    texts = {text, text.lower(), text.upper(), text.title(), unicodedata.normalize("NFD", text.lower())}
    folded = {_folded(text), _folded(text.translate(_UMLAUTS))}
    for each in texts | {other for other in folded if other}:
        for codec in _CODECS if not each.isascii() else ("ascii",):
            with suppress(UnicodeError):
                # what leads back to ASCII is no part of it, and what is between letters of UTF-16 is not searched
                yield each.encode(codec).removesuffix(b"\x1b(B").replace(b"\0", b"").lower()


def _folded(text: str) -> str:
    """Without marks; empty when that is no ASCII."""
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS).translate(_MORE))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return plain if plain.isascii() else ""


def _texts_of(name: bytes, charset: bytes) -> Iterable[str]:
    """What the bytes mean by pydicom, which knows code extensions; by each declared term alone; and by themselves, as
    many a sender writes UTF-8 or Latin-1 whatever it declares."""
    if name.isascii() and b"\x1b" not in name:
        return {name.decode("ascii")}
    from pydicom.charset import convert_encodings, decode_bytes

    terms = [term.strip(b" \0").decode("ascii", errors="replace") for term in charset.split(b"\\")]
    texts = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(UnicodeError, LookupError, ValueError):
            texts.add(decode_bytes(name, convert_encodings(terms), {ord("^"), ord("=")}))
    codecs = [_DECLARED.get(term.replace("ISO 2022 IR ", "ISO_IR ")) for term in terms[:_MOST_TERMS]]
    for codec in (codecs[0] or "latin_1", *codecs[1:]):
        with suppress(UnicodeError):
            texts.add(name.decode(codec) if codec else "")
    try:
        texts.add(name.decode("utf_8"))
    except UnicodeError:
        texts.add(name.decode("latin_1"))
    return texts
