"""Studies for tests: made quickly, the same bytes for the same seed, nothing downloaded.

Used by every test that needs data. Patients here never lived.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Final

import pydicom.data
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

PRIVATE_SOP_CLASS: Final = "1.3.6.1.4.1.12345.1.5.1.4.1.1.77"
TEST_FILES: Final = Path(pydicom.data.__file__).parent / "test_files"


def uid(*seed: object) -> str:
    """A UID under 2.25, made from `seed`: the same today and tomorrow."""
    digest = sha256("\0".join(str(part) for part in seed).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def part10(dataset: Dataset) -> bytes:
    """The data set as a DICOM file (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def encoded(dataset: Dataset) -> bytes:
    """The data set alone, in its transfer syntax, as it travels in a C-STORE."""
    file = part10(dataset)
    meta_length = int.from_bytes(file[140:144], "little")  # the value of (0002,0000)
    return file[144 + meta_length :]


@dataclass(frozen=True)
class Study:
    """Instances of one study, in the order they were made."""

    instances: tuple[Dataset, ...]

    @property
    def study_instance_uid(self) -> str:
        return str(self.instances[0].StudyInstanceUID)

    @property
    def patient_id(self) -> str:
        return str(self.instances[0].PatientID)

    @property
    def series_instance_uids(self) -> list[str]:
        return list(dict.fromkeys(str(item.SeriesInstanceUID) for item in self.instances))

    @property
    def sop_instance_uids(self) -> set[str]:
        return {str(item.SOPInstanceUID) for item in self.instances}

    def files(self) -> Iterator[bytes]:
        return (part10(item) for item in self.instances)

    def write(self, folder: Path) -> list[Path]:
        """One file per instance, named by its SOP Instance UID."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for item in self.instances:
            path = folder / f"{item.SOPInstanceUID}.dcm"
            path.write_bytes(part10(item))
            paths.append(path)
        return paths


def instance(
    seed: str,
    *,
    study: str | None = None,
    series: int = 1,
    number: int = 1,
    size: int = 16,
    frames: int | None = None,
    sop_class: str = CTImageStorage,
    modality: str = "CT",
    patient_id: str = "1001",
    patient_name: str = "Apple^Annie",
    charset: str | Sequence[str] | None = None,
    study_description: str | None = "CT Thorax",
    series_description: str | None = "Axial",
    series_number: int | None = None,
    study_date: str | None = "20240131",
    study_time: str | None = "101112",
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> Dataset:
    """One instance with `size` x `size` pixels of 16 bit; `series` and `number` count from 1.

    The study's UID comes from `study` (or `seed`), the others from `seed`, `series` and `number`.
    With a compressed `transfer_syntax` the pixels are encapsulated random bytes, no real codestream.
    """
    study_uid = uid("study", study or seed)
    dataset = Dataset()
    if charset is not None:
        dataset.SpecificCharacterSet = charset if isinstance(charset, str) else list(charset)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid("instance", seed, series, number)
    dataset.StudyDate, dataset.StudyTime = study_date, study_time
    dataset.AccessionNumber = str(int(sha256(study_uid.encode()).hexdigest()[:6], 16))
    dataset.Modality = modality
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = study_description
    dataset.SeriesDescription = series_description
    dataset.PatientName, dataset.PatientID = patient_name, patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "19760824", "F"
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = uid("series", seed, series)
    dataset.StudyID = "1"
    dataset.SeriesNumber = series if series_number is None else series_number
    dataset.InstanceNumber = number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    if frames is not None:
        dataset.NumberOfFrames = frames
    dataset.Rows = dataset.Columns = size
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    pixels = _pixels(size * size * 2 * (frames or 1), sha256(dataset.SOPInstanceUID.encode()).digest())
    syntax = UID(transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if syntax.is_encapsulated:
        dataset.PixelData = encapsulate([pixels[index :: frames or 1] for index in range(frames or 1)])
    else:
        dataset.PixelData = pixels
    dataset["PixelData"].VR = "OW"
    return dataset


def ct_study(
    instances: int = 3, *, seed: str = "ct", series: int = 1, size: int = 16, patient_id: str = "1001", **more: object
) -> Study:
    """A study of `instances` CT images in each of `series` series; `more` goes to `instance`."""
    made = [
        instance(seed, series=part, number=number, size=size, patient_id=patient_id, **more)  # type: ignore[arg-type]
        for part in range(1, series + 1)
        for number in range(1, instances + 1)
    ]
    return Study(tuple(made))


def mixed_study(seed: str = "mixed", *, patient_id: str = "1002") -> Study:
    """CT and MR series, two with the same number and description, one without either."""
    common = {"study": seed, "patient_id": patient_id}
    return Study(
        (
            *ct_study(2, seed=f"{seed}-1", **common).instances,  # type: ignore[arg-type]
            *ct_study(2, seed=f"{seed}-2", **common).instances,  # type: ignore[arg-type]
            instance(f"{seed}-3", sop_class=MRImageStorage, modality="MR", series=7, series_description=None, **common),  # type: ignore[arg-type]
        )
    )


def private_study(instances: int = 2, *, seed: str = "private", patient_id: str = "1003") -> Study:
    """Instances of a SOP class that no standard knows."""
    return ct_study(instances, seed=seed, patient_id=patient_id, sop_class=PRIVATE_SOP_CLASS, modality="OT")


def multiframe(frames: int, size: int, *, seed: str = "multiframe", patient_id: str = "1004") -> Dataset:
    """One big object of `frames` x `size` x `size` x 2 bytes."""
    return instance(
        seed,
        frames=frames,
        size=size,
        sop_class=MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        modality="OT",
        patient_id=patient_id,
    )


def names_of_the_world() -> list[Study]:
    """One study each in Latin-1, ISO 2022 Japanese and Korean, Greek and UTF-8 (PS3.5 annexes H, I)."""
    rows = [
        ("latin", "ISO_IR 100", "Äpfelmüller^Jürgen"),
        ("japanese", ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("korean", ["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("greek", "ISO_IR 126", "Διονυσιος"),
        ("utf8", "ISO_IR 192", "Wang^XiaoDong=王^小東="),
    ]
    return [
        ct_study(1, seed=f"name-{key}", patient_id=f"20{number:02}", charset=charset, patient_name=name)
        for number, (key, charset, name) in enumerate(rows)
    ]


@cache
def pydicom_files() -> tuple[Path, ...]:
    """pydicom's own test files that are storable: with Patient ID, Study, Series and SOP UIDs, each UID once."""
    found: dict[str, Path] = {}
    needed = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    for path in sorted(path for path in TEST_FILES.rglob("*") if path.is_file()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(path, stop_before_pixels=True)
            except (InvalidDicomError, OSError):
                continue
            if "TransferSyntaxUID" in dataset.file_meta and all(dataset.get(keyword) for keyword in needed):
                found.setdefault(str(dataset.SOPInstanceUID), path)
    return tuple(found.values())


@cache
def compressed_files() -> tuple[Path, ...]:
    """Those of `pydicom_files` whose pixels are compressed, one per transfer syntax."""
    found: dict[str, Path] = {}
    for path in pydicom_files():
        syntax = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            found.setdefault(str(syntax), path)
    return tuple(found.values())


def _pixels(length: int, seed: bytes) -> bytes:
    """Noise of one block, repeated; its first bytes differ between instances."""
    block = b"".join(sha256(seed + bytes([index])).digest() for index in range(128))
    return (block * (length // len(block) + 1))[:length]
