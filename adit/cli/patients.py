"""The demo's patients: pydicom's own test files, loaded into a sandbox PACS by ADIT's own nodes."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A study in the first PACS."""

    study_instance_uid: str
    instances: int


def load(folder: Path, pacs: DicomNode) -> list[Loaded]:
    """Sends the folder's studies to the PACS. What it refuses is left out; the biggest study comes first."""
    spec = DicomNodeSpec(folder=Folder(path=str(folder)))
    patients = open_node(DicomNode(metadata=ObjectMeta(name="patients"), spec=spec), Share())
    target = open_node(pacs, Share())
    studies = [str(study.get("StudyInstanceUID")) for study in patients.find(Query(Level.STUDY))]
    return sorted((_load_study(patients, target, study) for study in studies), key=lambda loaded: -loaded.instances)


def _load_study(patients: Node, target: Node, study: str) -> Loaded:
    images = patients.find(Query(Level.IMAGE, {"StudyInstanceUID": study}, ("SOPClassUID",)))
    channel = target.open_store({str(each.get("SOPClassUID")) for each in images})
    taken = 0

    def deliver(instance: Instance) -> None:
        nonlocal taken
        try:
            channel.store(instance)
        except TransferFault as refusal:
            if refusal.fault.sop_instance_uid is None:
                raise
        else:
            taken += 1
        finally:
            instance.close()

    try:
        patients.fetch(Wanted(study), deliver)
    finally:
        channel.close()
    return Loaded(study, taken)


def choose(loaded: Sequence[Loaded], pacs: DicomNode, count: int) -> list[Loaded]:
    """The `count` biggest studies that the PACS can also give back: qrscp takes some that it can't send."""
    source = open_node(pacs, Share())
    return list(islice((study for study in loaded if _gives_back(source, study)), count))


def _gives_back(source: Node, study: Loaded) -> bool:
    """Whether a transfer of the study could succeed: it asks for what the source says that it has."""
    wanted = Wanted(study.study_instance_uid, sop_class_uids=_told_classes(source, study.study_instance_uid))
    try:
        report = source.fetch(wanted, lambda instance: instance.close())
    except TransferFault:
        return False
    return report.completed == study.instances and not report.faults


def _told_classes(source: Node, study: str) -> frozenset[str]:
    """The study's SOP classes as the source tells them; empty, which means unknown, if it doesn't (qrscp)."""
    keys = {"StudyInstanceUID": study}
    told: set[str] = set()
    for series in list(source.find(Query(Level.SERIES, keys))):
        inside = {**keys, "SeriesInstanceUID": str(series.get("SeriesInstanceUID"))}
        told |= {
            str(image.get("SOPClassUID") or "") for image in source.find(Query(Level.IMAGE, inside, ("SOPClassUID",)))
        }
    return frozenset() if "" in told else frozenset(told)
