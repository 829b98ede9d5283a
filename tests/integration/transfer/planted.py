"""A study in which a patient is named in many places, and what must not be found of it in what arrives."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from adit.deid.identity import Identity
from tests.samples import Study, instance

PATIENT_ID = "PLANTED-4711"
NAME = "Plantedfamily^Ottokar"
_WORDS = ("Plantedfamily", "Ottokar", "PLANTED-4711", "PLANTED-ACC-1", "Planted Street", "19501224", "20240131")
KEY = b"k" * 32


def planted(slices: int = 3, seed: str = "planted", patient_id: str = PATIENT_ID, name: str = NAME) -> Study:
    return Study(tuple(_named(seed, number, patient_id, name) for number in range(1, slices + 1)))


def presentation_state(seed: str = "planted", patient_id: str = PATIENT_ID) -> Dataset:
    """Of the same study, of a kind that profiles often exclude."""
    made = instance(
        f"{seed}-pr",
        study=seed,
        modality="PR",
        sop_class=GrayscaleSoftcopyPresentationStateStorage,
        patient_id=patient_id,
        patient_name=NAME,
    )
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        if keyword in made:
            delattr(made, keyword)
    return made


def _named(seed: str, number: int, patient_id: str, name: str) -> Dataset:
    made = instance(seed, number=number, patient_id=patient_id, patient_name=name, size=64)
    made.AccessionNumber = "PLANTED-ACC-1"
    made.PatientBirthDate = "19501224"
    made.PatientAddress = "Planted Street 1"
    made.StudyDescription = f"Thorax of {name}"
    made.ReferringPhysicianName = "Plantedfamily^Doctor"
    request = Dataset()
    request.RequestedProcedureDescription = f"for {patient_id}"
    request.ScheduledProcedureStepDescription = "Plantedfamily"
    made.RequestAttributesSequence = [request]
    block = made.private_block(0x0029, "PLANTED CREATOR", create=True)
    block.add_new(0x10, "LO", name)
    block.add_new(0x11, "OB", patient_id.encode() + b"\0" * (len(patient_id) % 2))
    return made


def words(study: Study) -> list[bytes]:
    """All that names the patient: words of the header, and the original UIDs."""
    uids = {study.study_instance_uid, *study.series_instance_uids, *study.sop_instance_uids}
    return [each.encode() for each in (*_WORDS, *uids)]


def is_clean(file: bytes, study: Study) -> bool:
    """Whether no byte of it tells whom it was of."""
    return not any(word.lower() in file.lower() for word in words(study))


def identity(project: str) -> Identity:
    return Identity(KEY, project)


def pixels_of(file: bytes) -> bytes:
    return bytes(dcmread(BytesIO(file)).PixelData)


def dcmdump(file: bytes, tmp: Path) -> str:
    """What DCMTK reads of it."""
    path = tmp / "dumped.dcm"
    path.write_bytes(file)
    done = subprocess.run(["/usr/bin/dcmdump", "-q", str(path)], capture_output=True, check=True)
    return done.stdout.decode("latin-1")
