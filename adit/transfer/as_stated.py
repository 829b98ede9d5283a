"""An instance under the SOP class that its data set names, where it came under another.

Made by `intake`. A C-STORE must name what its data set holds (PS3.7 9.1.1.1, PS3.4 B.2): by that a peer files it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from adit.dicom.node import Instance


@dataclass(frozen=True, slots=True)
class AsStated:
    """Implements `adit.dicom.node.Instance`."""

    came: Instance
    sop_class_uid: str

    @property
    def study_instance_uid(self) -> str:
        return self.came.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        return self.came.series_instance_uid

    @property
    def sop_instance_uid(self) -> str:
        return self.came.sop_instance_uid

    @property
    def transfer_syntax_uid(self) -> str:
        return self.came.transfer_syntax_uid

    @property
    def size(self) -> int:
        return self.came.size

    def open(self) -> BinaryIO:
        return self.came.open()

    def close(self) -> None:
        self.came.close()
