"""What `adit node find` asks for and how it shows the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from adit.cli.console import fail
from adit.deid.dictionary import keywords
from adit.dicom.dictionary import entry
from adit.dicom.node import Answer, Level
from adit.model.guess import guess

COLUMNS: Final[dict[Level, tuple[str, ...]]] = {
    Level.PATIENT: ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        "StudyInstanceUID",
        "PatientID",
        "PatientName",
        "StudyDate",
        "ModalitiesInStudy",
        "StudyDescription",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "SeriesInstanceUID",
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "NumberOfSeriesRelatedInstances",
    ),
    Level.IMAGE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}


def keys_of(pairs: Sequence[str]) -> dict[str, str]:
    """KEYWORD=VALUE pairs as matching keys. Ends the command when one isn't such a pair."""
    keys = {}
    for pair in pairs:
        keyword, equals, value = pair.partition("=")
        if not equals:
            fail(f"--key {keyword}: must be KEYWORD=VALUE, such as StudyDate=20240101-")
        keys[_known(keyword)] = value
    return keys


def columns(level: Level, keys: Mapping[str, str], returning: Sequence[str]) -> list[str]:
    """The keywords to show: the level's own, then the keys, then what was asked for besides."""
    return list(dict.fromkeys([*COLUMNS[level], *keys, *map(_known, returning)]))


def _known(keyword: str) -> str:
    if entry(keyword) is None:
        like = guess(keyword, keywords(), 0.8) or ", such as PatientID or StudyDate"
        fail(f"{keyword}: is no DICOM keyword (PS3.6){like}")
    return keyword


def as_table(found: Sequence[Answer], keywords: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for keyword in keywords:
        table.add_column(keyword, no_wrap=True)
    for answer in found:
        table.add_row(*(Text(_text(answer, keyword)) for keyword in keywords))
    return table


def as_json(found: Sequence[Answer], keywords: Sequence[str]) -> list[object]:
    return [
        {keyword: _text(answer, keyword) for keyword in keywords if answer.get(keyword) is not None} for answer in found
    ]


def _text(answer: Answer, keyword: str) -> str:
    """Values as they stand in DICOM, several with a backslash between them."""
    from pydicom.multival import MultiValue  # the facade imports us when it starts, which pydicom would delay by 0.4 s

    value = answer.get(keyword)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list)) else str(value)
