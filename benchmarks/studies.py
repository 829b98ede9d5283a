"""CT studies for the benchmarks, made here: 258 elements with a heavy private header, noise as pixels."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from random import Random

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_ROOT = "1.2.826.0.1.3680043.10.1338"
_INSTANCE = f"{_ROOT}.9.100000"  # replaced in the encoded bytes by one of the same length for each instance
_ELEMENTS = 258


def ct_study(number: int, *, side: int, study: int = 1) -> Iterator[bytes]:
    """`number` DICOM files (PS3.10) of side x side x 16 bit; at most 899,999 of them.

    All instances of a study share their pixels: nothing on the way looks at them.
    """
    template = _encoded(side, study)
    for index in range(number):
        yield template.replace(_INSTANCE.encode(), f"{_ROOT}.9.{100001 + index}".encode())


def study_uid(study: int = 1) -> str:
    return f"{_ROOT}.7.{study}"


def _encoded(side: int, study: int) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = _INSTANCE
    dataset.StudyInstanceUID = study_uid(study)
    dataset.SeriesInstanceUID = f"{_ROOT}.8.{study}"
    dataset.PatientID = f"BENCH{study}"
    dataset.PatientName = "Bench^Mark"
    dataset.StudyDate = "20260101"
    dataset.StudyTime = "120000"
    dataset.AccessionNumber = f"A{study}"
    dataset.Modality = "CT"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = "Noise"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    private = dataset.private_block(0x0019, "ADIT BENCHMARK", create=True)
    for offset in range(_ELEMENTS - len(dataset) - 1):
        private.add_new(offset % 0xF0, "LO", f"private value {offset}")
        if offset % 0xF0 == 0xEF:
            private = dataset.private_block(0x0021, "ADIT BENCHMARK", create=True)
    dataset.PixelData = Random(side).randbytes(side * side * 2)

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
