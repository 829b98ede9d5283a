"""A data set as the instance that a source would deliver."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import BinaryIO

from pydicom import Dataset

from tests import samples


@dataclass
class GivenInstance:
    """Implements `adit.dicom.node.Instance` in memory."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def close(self) -> None:
        pass


def given(dataset: Dataset) -> GivenInstance:
    return GivenInstance(
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        data=samples.encoded(dataset),
    )
