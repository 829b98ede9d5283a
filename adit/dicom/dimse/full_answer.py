"""Answers that hold more than a few plain texts, read by pydicom. Called by `identifier`."""

from __future__ import annotations

from io import BytesIO

from pydicom.filereader import read_dataset

from adit.dicom.tolerant_pydicom import Dataset


def decode(encoded: bytes, *, implicit: bool, little_endian: bool) -> Dataset:
    """All values converted. Raises whatever pydicom raises when the bytes are no data set."""
    answer = read_dataset(BytesIO(encoded), implicit, little_endian)
    answer.decode()
    for element in answer.iterall():
        element.value  # noqa: B018 - converts it here, so that no later reader stumbles
    return answer
