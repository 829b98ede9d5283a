"""A folder for objects that no transfer waits for, so that they can be routed later. Used where a setting names one.

Each is a DICOM file, `STUDY/INSTANCE.dcm`: sent twice it is there once, and another content of the same UID stands
beside it, as `INSTANCE-DIGEST.dcm`; nothing is ever overwritten. Unless it is told otherwise, an object is on the disk
before its sender may forget it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Final

from adit.dicom.dimse.status import OUT_OF_RESOURCES
from adit.dicom.file_meta import encoded_file_meta
from adit_receiver.counts import Fate
from adit_receiver.outlet import Arrival, Refused

UNFINISHED: Final = ".unfinished"
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_WITHOUT_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # file systems that have none
_STUDIES: Final = 1000  # whose folders are remembered
_PIECE: Final = 2**18
_ABANDONED: Final = 3600.0  # seconds without a byte, which no association survives


class Inbox:
    """Implements `Outlets`, for any number of associations at once."""

    def __init__(self, folder: Path, *, synced: bool = True) -> None:
        """What a dead process left unfinished is removed: its senders were told nothing. Raises OSError.

        Not at once, because another replica may be writing into the same folder.
        """
        self.synced = synced
        self._folder = folder
        self._unfinished = folder / UNFINISHED
        self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):  # finished meanwhile
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()
        self._mine = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._studies: dict[Path, None] = {}  # those whose folders are there, the oldest first

    def open(self, arrival: Arrival) -> InboxFile:
        try:
            return InboxFile(self, self._unfinished / f"{self._mine}-{next(self._numbers)}", arrival)
        except OSError:
            raise Refused(Fate.NO_ROOM, OUT_OF_RESOURCES) from None

    def close(self) -> None:
        return

    def place(self, finished: Path, arrival: Arrival) -> None:
        """Gives a written file its name for good. Raises OSError."""
        study = self._folder / arrival.study_instance_uid
        if study not in self._studies:
            self._make(study)
        try:
            self._name(finished, study, arrival.sop_instance_uid)
        except FileNotFoundError:  # somebody tidied up
            self._make(study)
            self._name(finished, study, arrival.sop_instance_uid)
        if self.synced:
            _sync(study)

    def _make(self, study: Path) -> None:
        with self._lock:
            study.mkdir(mode=0o700, exist_ok=True)
            if self.synced:
                _sync(self._folder)
            self._studies[study] = None
            if len(self._studies) > _STUDIES:
                del self._studies[next(iter(self._studies))]

    def _name(self, finished: Path, study: Path, instance: str) -> None:
        name = study / f"{instance}.dcm"
        if self._link(finished, name) or _same(finished, name):
            return
        self._link(finished, study / f"{instance}-{_digest(finished)}.dcm")  # there already: the same content

    def _link(self, finished: Path, name: Path) -> bool:
        """False if there is a file of that name."""
        try:
            os.link(finished, name)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            with self._lock:  # not as good: another process could come in between
                if name.exists():
                    return False
                finished.rename(name)
        return True


class InboxFile:
    """Implements `Outlet`."""

    def __init__(self, inbox: Inbox, unfinished: Path, arrival: Arrival) -> None:
        self._inbox = inbox
        self._unfinished = unfinished
        self._arrival = arrival
        self._file = os.open(unfinished, _NEW_FILE, 0o600)
        try:
            meta = encoded_file_meta(
                arrival.own_sop_class_uid or arrival.sop_class_uid,
                arrival.sop_instance_uid,
                arrival.transfer_syntax_uid,
            )
            _write(self._file, memoryview(meta))
        except BaseException:
            self.abandon()
            raise

    def write(self, piece: memoryview) -> None:
        try:
            _write(self._file, piece)
        except OSError:
            raise Refused(Fate.NO_ROOM, OUT_OF_RESOURCES) from None

    def finish(self) -> None:
        try:
            if self._inbox.synced:
                os.fsync(self._file)
            self._inbox.place(self._unfinished, self._arrival)
        except OSError:
            raise Refused(Fate.NO_ROOM, OUT_OF_RESOURCES) from None
        self.abandon()

    def abandon(self) -> None:
        if self._file < 0:
            return
        descriptor, self._file = self._file, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            self._unfinished.unlink()


def _write(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _same(one: Path, other: Path) -> bool:
    with one.open("rb", buffering=0) as first, other.open("rb", buffering=0) as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
    return True


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
