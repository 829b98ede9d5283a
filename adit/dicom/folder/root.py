"""A node's own folder while calls go on in it: it must stay the one it was, calls end when told, bytes keep to a pace.

Used by `node`, and by the archives that are made in a folder.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from adit.dicom.folder.faults import FolderFaults
from adit.dicom.rate import TokenBucket
from adit.model.assignment import Share


class Root:
    """Safe for threads. Only the share's bytes per second matter: a folder has no associations and no queries."""

    def __init__(self, faults: FolderFaults, share: Share) -> None:
        self._faults = faults
        rate = share.bytes_per_second
        self._bucket = None if rate is None else TokenBucket(rate, rate, time.monotonic)
        self._halt = threading.Event()
        self._device: int | None = None  # of the folder when it was first used

    @property
    def path(self) -> Path:
        return self._faults.root

    def interrupt(self) -> None:
        self._halt.set()

    def check(self) -> None:
        """Raises TransferFault(INTERRUPTED) once the node was interrupted."""
        if self._halt.is_set():
            raise self._faults.interrupted()

    def check_place(self) -> None:
        """Between pieces of a write: an unmounted share shows the disk beneath it."""
        self.check()
        self.require()

    def require(self) -> None:
        """Raises TransferFault where the folder is not there, or is another than it was."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise self._faults.of(error, "find") from error
        if not self.path.is_dir():
            raise self._faults.missing()
        if self._device is None:
            self._device = status.st_dev
        elif self._device != status.st_dev:
            raise self._faults.missing()

    def throttle(self, size: int) -> None:
        if self._bucket is not None and (seconds := self._bucket.take(size)) > 0:
            self._halt.wait(seconds)
            self.check()
