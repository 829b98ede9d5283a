"""Tags and VRs by keyword (PS3.6): what a transfer asks for at hand, everything else from pydicom's dictionary.

Called by `matching` and by the DIMSE room for each query and each answer.
"""

from __future__ import annotations

from typing import Final

_AT_HAND: Final[dict[str, tuple[int, str]]] = {
    "SpecificCharacterSet": (0x00080005, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "AccessionNumber": (0x00080050, "SH"),
    "QueryRetrieveLevel": (0x00080052, "CS"),
    "RetrieveAETitle": (0x00080054, "AE"),
    "InstanceAvailability": (0x00080056, "CS"),
    "FailedSOPInstanceUIDList": (0x00080058, "UI"),
    "Modality": (0x00080060, "CS"),
    "ModalitiesInStudy": (0x00080061, "CS"),
    "PatientID": (0x00100020, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "NumberOfStudyRelatedSeries": (0x00201206, "IS"),
    "NumberOfStudyRelatedInstances": (0x00201208, "IS"),
    "NumberOfSeriesRelatedInstances": (0x00201209, "IS"),
}
_KEYWORDS: Final = {tag: keyword for keyword, (tag, _) in _AT_HAND.items()}


def entry(keyword: str) -> tuple[int, str] | None:
    """Tag and VR; None for what is no DICOM keyword."""
    found = _AT_HAND.get(keyword)
    if found is not None:
        return found
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    return None if tag is None else (tag, dictionary_VR(tag))


def keyword_at_hand(tag: int) -> tuple[str, str] | None:
    """Keyword and VR of a tag, if it is one that a transfer asks for."""
    keyword = _KEYWORDS.get(tag)
    return None if keyword is None else (keyword, _AT_HAND[keyword][1])
