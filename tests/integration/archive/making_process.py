"""A process that makes an archive and says so line by line; to be killed, or to be weighed. Run as `-m` with arguments.

ROOT SECRETS FORMAT [MEBIBYTES]: with a number it makes one of one object so big, proves it and tells its peak memory.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from datetime import date
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from adit.dicom.archive import ArchiveNode
from adit.dicom.folder import JobFolder
from adit.model.archive import Archive, ArchiveFormat
from adit.model.assignment import Share
from tests import samples
from tests.integration.folder.given_instance import given

SECRET, PASSWORD = "archives", "köst lich-7"
JOB = JobFolder("stroke", date(2026, 11, 22), "jane", task="0badcafe")
PACE = Share(bytes_per_second=80_000)  # about ten instances a second, so that there is a midst to be killed in


def open_node(
    root: Path, secrets: Path | None, archive_format: str, share: Share | None = None, job: JobFolder = JOB
) -> ArchiveNode:
    archive = Archive(format=ArchiveFormat(archive_format), secret_name=SECRET)
    return ArchiveNode("archive", root, archive, share or Share(), job, secrets)


def study() -> samples.Study:
    return samples.ct_study(8, size=64, series=2)


@dataclass
class Repeated:
    """A big instance: a small one whose last element, the pixels, goes on and on."""

    start: bytes
    block: bytes
    blocks: int
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def size(self) -> int:
        return len(self.start) + len(self.block) * self.blocks

    def open(self) -> BinaryIO:
        return cast(BinaryIO, _Stream(self))

    def close(self) -> None:
        pass


class _Stream(BufferedIOBase):
    def __init__(self, of: Repeated) -> None:
        self._of = of
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        length, start = len(self._of.block), self._of.start
        assert size is not None
        assert 0 <= size <= length
        if self._at < len(start):
            piece = start[self._at : self._at + size]
        else:
            here = (self._at - len(start)) % length
            piece = (self._of.block[here:] + self._of.block[:here])[: min(size, self._of.size - self._at)]
        self._at += len(piece)
        return piece

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._of.size)[whence]
        return self._at


def big(mebibytes: int) -> Repeated:
    image = given(samples.ct_study(1, size=512).instances[0])
    pixels = image.data[-(2**18) :]
    named: dict[str, Any] = {
        name: getattr(image, name) for name in Repeated.__dataclass_fields__ if name.endswith("_uid")
    }
    return Repeated(image.data, pixels * 4, mebibytes, **named)


if __name__ == "__main__":
    node = open_node(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], None if len(sys.argv) > 4 else PACE)
    channel = node.open_store(())
    if len(sys.argv) > 4:
        stored = [channel.store(big(int(sys.argv[4])))]
        node.seal()
        assert [proof.present for proof in node.verify(stored[0].series_instance_uid, stored)] == [True]
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    else:
        for item in study().instances:
            print(channel.store(given(item)).sop_instance_uid, flush=True)
        node.seal()
