"""A file system that is full soon, for faults that no mock can show. Needs root, as the other real things do here."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class SmallDisk:
    """A tmpfs of `size` bytes below `tmp`, mounted while it is entered; `unmount` takes it away earlier."""

    def __init__(self, tmp: Path, size: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="disk-", dir=tmp))
        self._size = size
        self._mounted = False

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._size}", "adit-test", str(self.path)], check=True)
        self._mounted = True

    def grow(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)

    def unmount(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
            self._mounted = False

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unmount()
