"""A folder's (or bucket's) answers to a query: entries grouped to patients, studies, series or instances.

Called by the nodes of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR

from adit.dicom.folder.description import KEYWORDS
from adit.dicom.matching import keep
from adit.dicom.node import Level, Query

_IDENTITY: Final = {
    Level.PATIENT: ("PatientID",),
    Level.STUDY: ("PatientID", "StudyInstanceUID"),
    Level.SERIES: ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    Level.IMAGE: ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}
_ALWAYS: Final = {Level.PATIENT: (), Level.STUDY: (), Level.SERIES: (), Level.IMAGE: ("SOPClassUID",)}
_SELECTIVE: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

# what is computed: of which entity, over which attribute of its instances
_COUNTS: Final = {
    "NumberOfPatientRelatedStudies": ("PatientID", "StudyInstanceUID"),
    "NumberOfPatientRelatedSeries": ("PatientID", "SeriesInstanceUID"),
    "NumberOfPatientRelatedInstances": ("PatientID", "SOPInstanceUID"),
    "NumberOfStudyRelatedSeries": ("StudyInstanceUID", "SeriesInstanceUID"),
    "NumberOfStudyRelatedInstances": ("StudyInstanceUID", "SOPInstanceUID"),
    "NumberOfSeriesRelatedInstances": ("SeriesInstanceUID", "SOPInstanceUID"),
}
_LISTS: Final = {
    "ModalitiesInStudy": ("StudyInstanceUID", "Modality"),
    "SOPClassesInStudy": ("StudyInstanceUID", "SOPClassUID"),
}
_COMPUTED: Final = {**_COUNTS, **_LISTS}


class Entry(Protocol):
    """One file that holds an instance."""

    def __getitem__(self, keyword: str, /) -> str:
        """The value of one of `description.KEYWORDS`."""
        ...


Computed = dict[str, dict[str, set[str]]]
AnEntry = TypeVar("AnEntry", bound=Entry)
ReadMore = Callable[[AnEntry, tuple[str, ...]], Dataset]
"""Reads further attributes of an entry from its file."""


def answers(entries: Sequence[AnEntry], query: Query, read_more: ReadMore[AnEntry]) -> Iterator[Dataset]:
    """One answer for each entity of the query's level that matches, in UTF-8 whatever the files have.

    It holds the unique keys of its level and above and all attributes asked for, empty where the folder
    has no value. Raises ValueError for what is no DICOM keyword.
    """
    wanted = tuple(dict.fromkeys((*_IDENTITY[query.level], *_ALWAYS[query.level], *query.keys, *query.returning)))
    further = tuple(key for key in wanted if key not in KEYWORDS and key not in _COMPUTED)
    computed = _compute(entries, [key for key in wanted if key in _COMPUTED])
    given = 0
    for group in _grouped(_selected(entries, query), query.level):
        if query.limit is not None and given >= query.limit:
            return
        answer = _answer(group, query.level, wanted, computed)
        if further:
            more = read_more(group[0], further)
            answer.update({element.tag: element for element in more if element.keyword in further})
        if keep(answer, query):
            given += 1
            yield answer


def _compute(entries: Sequence[Entry], wanted: Sequence[str]) -> Computed:
    """The distinct values behind each computed attribute, by the entity that they belong to."""
    found: Computed = {keyword: {} for keyword in wanted}
    for entry in entries if wanted else ():
        for keyword in wanted:
            owner, attribute = _COMPUTED[keyword]
            found[keyword].setdefault(entry[owner], set()).add(entry[attribute])
    return found


def _selected(entries: Iterable[AnEntry], query: Query) -> Iterator[AnEntry]:
    """Without the entries that the query's UIDs rule out: the rest of the keys is matched on the answers."""
    uids = {key: set(query.keys[key].split("\\")) for key in _SELECTIVE if query.keys.get(key, "*") not in ("", "*")}
    return (entry for entry in entries if all(entry[key] in wanted for key, wanted in uids.items()))


def _grouped(entries: Iterable[AnEntry], level: Level) -> list[list[AnEntry]]:
    groups: dict[tuple[str, ...], list[AnEntry]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry[keyword] for keyword in _IDENTITY[level]), []).append(entry)
    return list(groups.values())


def _answer(group: Sequence[Entry], level: Level, wanted: tuple[str, ...], computed: Computed) -> Dataset:
    answer = Dataset()
    _set(answer, "SpecificCharacterSet", "ISO_IR 192")
    _set(answer, "QueryRetrieveLevel", level.value)
    for keyword in wanted:
        if keyword in KEYWORDS:
            _set(answer, keyword, next((entry[keyword] for entry in group if entry[keyword]), ""))
        elif keyword in _COMPUTED:
            values = computed[keyword][group[0][_COMPUTED[keyword][0]]]
            _set(answer, keyword, str(len(values)) if keyword in _COUNTS else "\\".join(sorted(values)))
    return answer


def _set(answer: Dataset, keyword: str, value: str) -> None:
    """As an answer from the wire would have it; a value that its VR cannot hold is left out."""
    several = value.split("\\") if "\\" in value else value
    try:
        answer.add(DataElement(keyword, dictionary_VR(keyword), several or None, validation_mode=config.IGNORE))
    except (ValueError, TypeError, ArithmeticError):
        return
