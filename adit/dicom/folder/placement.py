"""Which folder an instance goes to, and the step by which it appears there. Called by `channel`.

Names may collide: two studies of a patient with the same date, time and modalities, two series with
the same number and description. They must not merge, and a second attempt must find the folder of the
first. So a folder belongs to whoever its first instance belongs to; who finds the name taken by another
adds a digest of its own UID. A folder appears by one rename, together with its first instance: so it
always tells its owner, and of two processes that want one name one is refused. Nothing is stored for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from adit.dicom.file_meta import NotDicomError, read_file_meta
from adit.dicom.folder.header import UnreadableError, read_header
from adit.dicom.folder.naming import JobFolder, Placing, distinct

_PREFIX: Final = ".adit-"
_STALE_AFTER: Final = 3600.0  # seconds without a write: what a killed attempt left
_TRIES: Final = 10
_TAKEN: Final = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class Placement:
    """The folders of one job below a node's root. Safe for threads; raises OSError."""

    def __init__(self, root: Path, job: JobFolder) -> None:
        self._root = root
        self._job = job
        self.folder = root / job.name
        self._lock = threading.Lock()
        self._series: dict[tuple[str, str], Path] = {}
        self._owners: dict[tuple[Path, str], str] = {}

    def prepare(self) -> None:
        """Makes the job's folder, never the root, and clears away what killed attempts left in it."""
        self.folder.mkdir(exist_ok=True)
        sync(self._root)
        for path in self.folder.glob(f"{_PREFIX}*"):
            with suppress(FileNotFoundError):  # another's, that has just come to its place
                if time.time() - path.lstat().st_mtime > _STALE_AFTER and not _in_use(path):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def temporary(self) -> Path:
        """A fresh name on the same file system; hidden, so that no reader takes it for an instance."""
        return self.folder / f"{_PREFIX}{uuid4().hex}.part"

    def put(self, temporary: Path, placing: Placing, check: Callable[[Path], None]) -> Path:
        """Moves a written and synced file to its place; `check` may object to replacing what is there."""
        with self._lock:
            for _ in range(_TRIES):
                folder = self._folder(placing)
                if folder is None:
                    with _alone(self.folder):
                        target = self._found(temporary, placing)
                    if target is None:
                        continue  # another process was faster: now the name is taken, perhaps by the same series
                    return target
                target = folder / placing.file
                if target.exists():
                    check(target)
                temporary.replace(target)
                sync(folder)
                return target
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _folder(self, placing: Placing) -> Path | None:
        """The series' folder, if it has one."""
        key = (placing.study_instance_uid, placing.series_instance_uid)
        known = self._series.get(key)
        if known is not None and known.is_dir():
            return known
        self._series.pop(key, None)
        folder = self.folder
        for keyword, identity, wished in self._levels(placing):
            own = self._own(folder, keyword, identity, wished)
            if own is None:
                return None
            folder = own
        self._series[key] = folder
        return folder

    def _levels(self, placing: Placing) -> tuple[tuple[str, str, str], ...]:
        return (
            ("PatientID", placing.patient_id, placing.patient_folder(self._job.pseudonym)),
            ("StudyInstanceUID", placing.study_instance_uid, placing.study_folder),
            ("SeriesInstanceUID", placing.series_instance_uid, placing.series_folder),
        )

    def _own(self, parent: Path, keyword: str, identity: str, wished: str) -> Path | None:
        """The folder below `parent` that belongs to `identity`.

        Studies and series are looked for under any name, because an attempt that began with another
        instance, or a study that grew, may have named it otherwise. Patients are too many for that.
        """
        for name in (wished, distinct(wished, identity)):
            if (parent / name).is_dir() and self._owner(parent / name, keyword) == identity:
                return parent / name
        if keyword != "PatientID":
            for folder in _folders(parent):
                if self._owner(folder, keyword) == identity:
                    return folder
        return None

    def _owner(self, folder: Path, keyword: str) -> str | None:
        """Whose folder it is by its first instance; None when it holds none."""
        known = self._owners.get((folder, keyword))
        if known is None:
            known = next(_values(folder, keyword), None)
            if known is not None:
                self._owners[folder, keyword] = known
        return known

    def _found(self, temporary: Path, placing: Placing) -> Path | None:
        """Founds the missing folders with the instance in them; None when another process came first."""
        parent, missing = self.folder, list(self._levels(placing))
        while missing and (own := self._own(parent, *missing[0])) is not None:
            parent = own
            missing.pop(0)
        if not missing:
            return None
        keyword, identity, wished = missing[0]
        names = [wished, *(name for _, _, name in missing[1:])]
        if _taken(parent / wished):
            if self._owner(parent / wished, keyword) == identity:
                return None  # it appeared since we looked
            names[0] = distinct(wished, identity)
        staging = inner = self.folder / f"{_PREFIX}{uuid4().hex}"
        staging.mkdir()
        try:
            for name in names[1:]:
                inner = inner / name
                inner.mkdir()
            temporary.rename(inner / placing.file)
            for folder in (inner, *inner.relative_to(staging).parents):
                sync(staging / folder)
            staging.rename(parent / names[0])
        except OSError as error:
            if (inner / placing.file).exists():
                (inner / placing.file).rename(temporary)
            shutil.rmtree(staging)
            if error.errno in _TAKEN:
                return None
            raise
        sync(parent)
        return parent.joinpath(*names, placing.file)


def sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process of this machine founds folders here meanwhile.

    Where the file system knows no locks it goes without: then two attempts at one study, begun in the same
    moment with instances of different modalities, could make a folder each.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _in_use(path: Path) -> bool:
    """Whether an archive is being made of it, which may wait long for its next instance."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a folder, or a file system without locks
        return False
    return False


def _taken(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _folders(parent: Path) -> Iterator[Path]:
    with os.scandir(parent) as listing:
        names = sorted(child.name for child in listing if child.name[0] != "." and child.is_dir(follow_symlinks=False))
    return (parent / name for name in names)


def _values(folder: Path, keyword: str) -> Iterator[str]:
    """The attribute in each readable DICOM file below, in the order of names."""
    for path, _, files in os.walk(folder):
        for name in sorted(files):
            if name.endswith(".dcm") and name[0] != ".":
                try:
                    with (Path(path) / name).open("rb") as file:
                        meta = read_file_meta(file)
                        file.seek(meta.offset)
                        yield read_header(file, meta.transfer_syntax_uid, (keyword,)).text(keyword)
                except (NotDicomError, UnreadableError, OSError):
                    continue
