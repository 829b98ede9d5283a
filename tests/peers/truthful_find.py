"""What an honest PACS answers to C-FIND and selects for C-GET, over a list of data sets.

Used by `ScriptedSCP` only, and written apart from `adit.dicom.matching`, so that the two can
contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import translate
from re import IGNORECASE, match

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag

_KEY_OF_LEVEL = {
    "PATIENT": ("PatientID",),
    "STUDY": ("StudyInstanceUID",),
    "SERIES": ("StudyInstanceUID", "SeriesInstanceUID"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}
_NOT_KEYS = {"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"}


def find(holdings: Iterable[Dataset], query: Dataset, *, ignored: frozenset[str] = frozenset()) -> list[Dataset]:
    """One answer for each entity of the query's level that matches, with the attributes asked for."""
    groups: dict[tuple[str, ...], list[Dataset]] = {}
    for item in holdings:
        identity = tuple(str(item.get(keyword, "")) for keyword in _KEY_OF_LEVEL[query.QueryRetrieveLevel])
        groups.setdefault(identity, []).append(item)
    rows = [_row(group, query) for group in groups.values()]
    return [row for row in rows if _matches(row, query, ignored)]


def select(holdings: Iterable[Dataset], query: Dataset) -> list[Dataset]:
    """The instances that the unique keys of a C-GET identifier name."""
    return [item for item in holdings if _matches(item, query, frozenset())]


def _row(group: Sequence[Dataset], query: Dataset) -> Dataset:
    first, row = group[0], Dataset()
    if "SpecificCharacterSet" in first:
        row.SpecificCharacterSet = first.SpecificCharacterSet
    row.QueryRetrieveLevel = query.QueryRetrieveLevel
    computed = {
        "ModalitiesInStudy": sorted({str(item.get("Modality", "")) for item in group}),
        "NumberOfStudyRelatedSeries": len({item.get("SeriesInstanceUID") for item in group}),
        "NumberOfStudyRelatedInstances": len(group),
        "NumberOfSeriesRelatedInstances": len(group),
    }
    for element in query:
        keyword = element.keyword
        if keyword and keyword not in _NOT_KEYS:
            setattr(row, keyword, computed[keyword] if keyword in computed else first.get(keyword))
    return row


def _matches(row: Dataset, query: Dataset, ignored: frozenset[str]) -> bool:
    if "*" in ignored:
        return True
    keys = {keyword_for_tag(element.tag): element for element in query if element.value not in (None, "", [])}
    return all(
        _equal(row.get(keyword), element.value, dictionary_VR(element.tag))
        for keyword, element in keys.items()
        if keyword and keyword not in _NOT_KEYS | ignored
    )


def _equal(held: object, asked: object, vr: str) -> bool:
    alternatives = [str(value) for value in asked] if isinstance(asked, list) or _many(asked) else [str(asked)]  # type: ignore[attr-defined]
    values = [str(value) for value in held] if _many(held) else ["" if held is None else str(held)]  # type: ignore[attr-defined]
    return any(_value(value, pattern, vr) for value in values for pattern in alternatives)


def _many(value: object) -> bool:
    return not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")


def _value(value: str, pattern: str, vr: str) -> bool:
    if vr in ("DA", "TM", "DT") and "-" in pattern:
        low, high = pattern.split("-", 1)
        return (not low or value >= low) and (not high or value <= high)
    if vr in ("DA", "TM", "DT", "UI", "IS", "DS", "US"):
        return value == pattern
    return match(translate(pattern), value, IGNORECASE if vr == "PN" else 0) is not None
