"""What the header of a DICOM file says of the instance in it: the attributes that searches are about.

Called by the catalogues of folders and buckets, once for each file.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import BinaryIO, Final

from adit.dicom.file_meta import NotDicomError, read_file_meta
from adit.dicom.folder.header import UnreadableError, read_header

KEYWORDS: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "InstanceNumber",
    "NumberOfFrames",
)
"""Attributes that are kept in memory for every file; others are read again when a query returns them."""

_AT: Final = {keyword: number for number, keyword in enumerate(KEYWORDS)}
_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_SUFFIXES: Final = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True, slots=True)
class Description:
    """One instance, as its file has it."""

    offset: int  # of the data set in the file
    transfer_syntax_uid: str
    truncated: bool  # the file ends before its pixel data do
    misnamed: bool  # the file meta information names another SOP class or instance than the data set
    values: tuple[str, ...]  # of KEYWORDS, as DICOM writes them

    def __getitem__(self, keyword: str) -> str:
        return self.values[_AT[keyword]]


def describe(file: BinaryIO, *, each_fragment: bool = True) -> Description | None:
    """The instance in the file; None for a DICOMDIR. Raises NotDicomError, UnreadableError, OSError.

    Without `each_fragment` encapsulated pixel data are not followed to their end, which a file that is far away
    makes expensive.
    """
    meta = read_file_meta(file)
    if meta.sop_class_uid == _MEDIA_DIRECTORY:
        return None
    file.seek(meta.offset)
    header = read_header(file, meta.transfer_syntax_uid, KEYWORDS, each_fragment=each_fragment)
    values = tuple(intern(header.text(keyword)) for keyword in KEYWORDS)
    if not all(values[: _AT["PatientID"]]):
        raise (UnreadableError if meta.sop_class_uid else NotDicomError)(
            "it lacks one of the UIDs that identify an instance"
        )
    own = values[_AT["SOPClassUID"]], values[_AT["SOPInstanceUID"]]
    misnamed = any(
        said not in ("", named) for said, named in zip((meta.sop_class_uid, meta.sop_instance_uid), own, strict=True)
    )
    return Description(meta.offset, intern(meta.transfer_syntax_uid), header.truncated, misnamed, values)


def looks_like_dicom(name: str, start: bytes) -> bool:
    """By its name, by the prefix (PS3.10 7.1), or by a first element of group 0002 or 0008 without it."""
    return name.lower().endswith(_SUFFIXES) or start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0")
