"""What becomes of one value, whichever walk found it. Pure, but for what it remembers of the patient's identifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from adit.deid.character_set import encode
from adit.deid.dates import capped_age, capped_number, shifted
from adit.deid.decision import Action, Decision
from adit.deid.engine.descriptors import cleaned
from adit.deid.engine.dummies import dummy
from adit.deid.identity import Identity
from adit.deid.mapping import Kind
from adit.deid.policy import PATIENT_ID, PATIENT_NAME
from adit.deid.quarantine import Quarantine, Reason

MADE_OF_TEXT: Final = frozenset({Action.CLEAN, Action.TEMPLATE})
"""Whose values are words of the original, and may be someone's name all the same."""

_PATIENT: Final = frozenset({PATIENT_NAME, PATIENT_ID})
_TEXTS: Final = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "PN": 64, "ST": 1024, "LT": 10240, "UC": 1024, "UT": 1024}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an instance is of: the original PatientID, and the name it goes by from now on."""

    patient_id: str
    pseudonym: str


@dataclass(slots=True)
class Values:
    """Of one instance. `charset` has the defined terms of its SpecificCharacterSet."""

    identity: Identity
    subject: Subject
    charset: tuple[str, ...] = ()
    templates: Callable[[str], str] | None = None
    pairs: dict[tuple[Kind, str], str] = field(default_factory=dict)  # which originals were replaced, and by what

    def replaced(self, decision: Decision, vr: str, value: bytes) -> bytes | None:
        """The new value, not padded; None when the element goes."""
        match decision.action:
            case Action.KEEP:
                return value
            case Action.REMOVE:
                return None
            case Action.EMPTY:
                return b""
            case Action.DUMMY:
                return dummy(vr)
            case Action.PSEUDONYM:
                return self.text(self.subject.pseudonym)
            case Action.UID:
                return self._mapped(value)
            case Action.HASH:
                return self._hash(vr, value)
            case Action.SHIFT:
                return self._shifted(vr, value)
            case Action.AGE:
                text = _ascii(value)
                age = capped_age(text) if decision.value is None else capped_number(text, decision.value)
                return None if age is None else age.encode("ascii")
            case Action.CLEAN:
                return cleaned(value) if vr in _TEXTS else None
            case Action.REPLACE:
                return self.text(decision.value or "") if vr in _TEXTS or vr in _PLAIN else b""
            case Action.TEMPLATE:
                made = self.templates(decision.value or "") if self.templates is not None else ""
                return self.text(made[: _TEXTS[vr]]) if vr in _TEXTS else b""
            case Action.SEQUENCE | Action.CONTENT:
                return None  # it is no sequence, whatever the standard says of it

    def uid(self, original: str) -> str:
        made = self.identity.uid(original)
        if made != original:
            self.pairs[Kind.UID, original] = made
        return made

    def _mapped(self, value: bytes) -> bytes:
        text = value.decode("ascii", errors="replace")
        return "\\".join(self.uid(part.strip(" \0")) for part in text.split("\\")).encode("ascii", errors="replace")

    def _hash(self, vr: str, value: bytes) -> bytes:
        if vr not in _TEXTS:
            return b""
        text = value.strip(b"\0 ").decode("latin-1")  # the letters do not matter: the same bytes give the same one
        made = self.identity.number(text) if vr in ("SH", "LO", "AE", "CS") else self.identity.value(text)
        if text:
            self.pairs[Kind.NUMBER, text_of(value)] = made
        return made.encode("ascii")

    def _shifted(self, vr: str, value: bytes) -> bytes:
        """Empty when it is no date: nobody knows what it is then."""
        moved = shifted(_ascii(value), vr, self.identity.days(self.subject.patient_id))
        return b"" if moved is None else moved.encode("ascii", errors="replace")

    def text(self, text: str) -> bytes:
        encoded = encode(text, self.charset)
        if encoded is None:
            raise Quarantine(
                Reason.CHARACTER_SET, "00080005", "a text of the profile or a pseudonym cannot be written in it"
            )
        return encoded


_PLAIN: Final = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})


def _ascii(value: bytes) -> str:
    return value.decode("ascii", errors="replace").strip("\0 ")


def text_of(value: bytes) -> str:
    """An identifier as people read it, whatever character set is declared; the same bytes are always the same text."""
    plain = value.strip(b"\0 ")
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        return plain.decode("latin-1")
