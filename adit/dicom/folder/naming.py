"""Names of folders and files at a destination: upstream's rules, made safe. Pure; used by `placement`.

<folder>/adit_<job>_<YYYYMMDD>_<owner>/<pseudonym or PatientID>/<YYYYMMDD-HHMMSS-MOD1,MOD2>/
    <SeriesNumber>-<SeriesDescription or Undefined>/<SOPInstanceUID>.dcm
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final, Protocol, runtime_checkable

from adit.model.assignment import Assignment

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')  # on Windows, where such folders are often read
_END: Final = re.compile(r"[\s.]+\Z")
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MAX_BYTES: Final = 200  # of the 255 that file systems allow; leaves room for a suffix
_UNSEEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"
_UNKNOWN: Final = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The facts about a job that name its folder; the same in each attempt."""

    job_name: str
    created_on: date  # UTC
    owner: str
    pseudonym: str | None = None
    task: str = ""  # a word for the task, unlike that of any other: for what is one file for all of it

    @classmethod
    def of(cls, assignment: Assignment) -> JobFolder:
        task = sha256(f"{assignment.job_id}/{assignment.task_id}".encode()).hexdigest()[:8]
        return cls(assignment.job_name, assignment.job_created_on, assignment.owner, assignment.pseudonym, task)

    @property
    def name(self) -> str:
        return safe_name(f"adit_{self.job_name}_{self.created_on:%Y%m%d}_{self.owner}")


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What the plan knows of a study before its first instance arrives; what is None comes from the instance."""

    study_instance_uid: str
    modalities: frozenset[str] = frozenset()
    study_date: str | None = None  # DA
    study_time: str | None = None  # TM


@runtime_checkable
class Filing(Protocol):
    """A destination that names folders by what the plan knows of a study."""

    def announce(self, study: StudyFacts) -> None: ...


@dataclass(frozen=True, slots=True)
class Placing:
    """What decides the place of one instance: who it is, and its header's words."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    study_date: str
    study_time: str
    modalities: frozenset[str]
    series_number: str
    series_description: str

    def patient_folder(self, pseudonym: str | None) -> str:
        return safe_name(pseudonym or self.patient_id or _UNKNOWN)

    @property
    def study_folder(self) -> str:
        return safe_name(f"{_date(self.study_date)}-{_time(self.study_time)}-{_modalities(self.modalities)}")

    @property
    def series_folder(self) -> str:
        """Without a number the SeriesInstanceUID, as upstream has it."""
        if not self.series_number:
            return safe_name(self.series_instance_uid)
        return safe_name(f"{self.series_number}-{self.series_description or 'Undefined'}")

    @property
    def file(self) -> str:
        """By the UID; one that cannot be a name gets one that no other has."""
        name = safe_name(self.sop_instance_uid)
        return f"{name if name == self.sop_instance_uid else distinct(name, self.sop_instance_uid)}.dcm"


def safe_name(text: str) -> str:
    """One component of a path, on every system: never empty, hidden, `.`, `..`, or longer than 200 bytes.

    Forbidden, control and invisible characters become `_`: those could show a name as another's (Unicode TR 36).
    Joiners stay, which some scripts need. Blanks and dots at the ends go, as Windows drops them.
    """
    text = unicodedata.normalize("NFC", text).encode(errors="replace").decode()
    text = "".join("_" if unicodedata.category(char) in _UNSEEN and char not in _JOINERS else char for char in text)
    text = _END.sub("", _FORBIDDEN.sub("_", text).strip())
    if text.startswith("."):
        text = f"_{text[1:]}"
    text = _END.sub("", text.encode()[:_MAX_BYTES].decode(errors="ignore"))
    return f"{text}_" if not text or _DEVICES.fullmatch(text) else text


def distinct(name: str, identity: str) -> str:
    """The name for the one who finds `name` taken by another: the same whenever it is asked for."""
    return f"{name}-{sha256(identity.encode()).hexdigest()[:8]}"


def _date(text: str) -> str:
    digits = text.replace(".", "").strip()
    return digits if re.fullmatch(r"[0-9]{8}", digits) else "00000000"


def _time(text: str) -> str:
    match = re.fullmatch(r"([0-9]{2}(?:[0-9]{2}){0,2})(?:\.[0-9]*)?", text.replace(":", "").strip())
    return match[1].ljust(6, "0") if match else "000000"


def _modalities(modalities: Iterable[str]) -> str:
    return ",".join(sorted(modality for modality in modalities if modality)) or _UNKNOWN
