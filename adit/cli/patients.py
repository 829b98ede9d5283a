"""The demo's patients: pydicom's own test files, loaded into a sandbox PACS by ADIT's own nodes."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Final

import pydicom.data
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from adit.dicom.node import Instance, Level, Node, Query, Wanted
from adit.dicom.opening import open_node
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode, DicomNodeSpec, Folder
from adit.model.outcome import TransferFault
from adit.model.resource import ObjectMeta

_NEEDED: Final = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def copy_patients(folder: Path) -> None:
    """Copies those of pydicom's test files that a PACS can keep; where several claim one UID, the first."""
    folder.mkdir(parents=True)
    source = Path(pydicom.data.__file__).parent / "test_files"
    for path in sorted(path for path in source.iterdir() if path.is_file()):
        try:
            with warnings.catch_warnings(action="ignore"):  # they exist to be odd
                header = dcmread(path, stop_before_pixels=True, specific_tags=list(_NEEDED))
        except (InvalidDicomError, OSError, ValueError):
            continue
        target = folder / f"{header.get('SOPInstanceUID')}.dcm"
        if "TransferSyntaxUID" in header.file_meta and all(header.get(key) for key in _NEEDED) and not target.exists():
            shutil.copyfile(path, target)


def load(folder: Path, pacs: DicomNode) -> Counter[str]:
    """Sends the folder's studies to the PACS; how many instances of each study it took.

    What it refuses is left out.
    """
    spec = DicomNodeSpec(folder=Folder(path=str(folder)))
    patients = open_node(DicomNode(metadata=ObjectMeta(name="patients"), spec=spec), Share())
    target = open_node(pacs, Share())
    taken: Counter[str] = Counter()
    for study in list(patients.find(Query(Level.STUDY))):
        _load_study(patients, target, str(study.StudyInstanceUID), taken)
    return taken


def _load_study(patients: Node, target: Node, study: str, taken: Counter[str]) -> None:
    wanted = Wanted(study)
    images = list(patients.find(Query(Level.IMAGE, {"StudyInstanceUID": study}, ("SOPClassUID",))))
    channel = target.open_store({str(each.SOPClassUID) for each in images})

    def deliver(instance: Instance) -> None:
        try:
            channel.store(instance)
        except TransferFault as refusal:
            if refusal.fault.sop_instance_uid is None:
                raise
        else:
            taken[study] += 1
        finally:
            instance.close()

    try:
        patients.fetch(wanted, deliver)
    finally:
        channel.close()


def choose(loaded: Counter[str], pacs: DicomNode, count: int) -> list[str]:
    """The `count` biggest studies that the PACS can also give back: qrscp takes some that it can't send."""
    source = open_node(pacs, Share())
    return list(islice((study for study, size in loaded.most_common() if _gives_back(source, study, size)), count))


def _gives_back(source: Node, study: str, size: int) -> bool:
    try:
        report = source.fetch(Wanted(study), lambda instance: instance.close())
    except TransferFault:
        return False
    return report.completed == size and not report.faults
