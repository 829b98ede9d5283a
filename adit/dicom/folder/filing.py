"""From an instance to what decides its place: a look into its header. For `channel`, and where archives are made."""

from __future__ import annotations

from typing import Final

from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.header import Header, UnreadableError, read_header
from adit.dicom.folder.naming import Placing, StudyFacts
from adit.dicom.node import Instance
from adit.model.outcome import FaultCode

_WORDS: Final = (
    "SOPInstanceUID",
    "PatientID",
    "StudyDate",
    "StudyTime",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
)


def placing_of(instance: Instance, study: StudyFacts | None, faults: FolderFaults) -> Placing:
    """`study` is what the plan told, if it did. Raises INSTANCE_UNREADABLE."""
    header = _header(instance, faults)
    if study is None or study.study_instance_uid != instance.study_instance_uid:
        study = StudyFacts(instance.study_instance_uid)
    return Placing(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        patient_id=header.text("PatientID"),
        study_date=study.study_date or header.text("StudyDate"),
        study_time=study.study_time or header.text("StudyTime"),
        modalities=study.modalities or frozenset({header.text("Modality")}),
        series_number=header.text("SeriesNumber"),
        series_description=header.text("SeriesDescription"),
    )


def _header(instance: Instance, faults: FolderFaults) -> Header:
    try:
        with instance.open() as reader:
            header = read_header(reader, instance.transfer_syntax_uid, _WORDS)
        if header.text("SOPInstanceUID") != instance.sop_instance_uid:
            raise UnreadableError("its data set is that of another instance, or of none")
    except UnreadableError as error:
        raise faults.fault(
            FaultCode.INSTANCE_UNREADABLE,
            f"An instance cannot be filed, because {error}.",
            "Have it repaired at the source.",
            instance.sop_instance_uid,
        ) from error
    return header
