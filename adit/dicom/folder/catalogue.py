"""What a folder holds: one entry per DICOM file, by its header. Asked by `node` for find and fetch.

Headers are read once a process and again only when a file's size or modification time changed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from adit.dicom.file_meta import NotDicomError
from adit.dicom.folder.description import Description, describe, looks_like_dicom
from adit.dicom.folder.faults import Doubt, FolderFaults, Interrupted
from adit.dicom.folder.file_instance import FileInstance
from adit.dicom.folder.header import UnreadableError

_log = structlog.get_logger(__name__)

_FILE_SYSTEMS_OWN: Final = "lost+found"  # at the top of a disk, and nobody may read it


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that holds an instance."""

    path: Path
    modified_ns: int
    size: int  # of the file
    description: Description

    def __getitem__(self, keyword: str) -> str:
        return self.description[keyword]

    def instance(self, faults: FolderFaults) -> FileInstance:
        return FileInstance(
            path=self.path,
            modified_ns=self.modified_ns,
            offset=self.description.offset,
            size=self.size - self.description.offset,
            study_instance_uid=self["StudyInstanceUID"],
            series_instance_uid=self["SeriesInstanceUID"],
            sop_class_uid=self["SOPClassUID"],
            sop_instance_uid=self["SOPInstanceUID"],
            transfer_syntax_uid=self.description.transfer_syntax_uid,
            faults=faults,
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a path; `entry` is None when it holds no instance, with a doubt when it may."""

    modified_ns: int
    size: int
    entry: Entry | None
    doubt: Doubt | None


class Catalogue:
    """The entries below a folder. Hidden files and symbolic links are left out; safe for threads."""

    def __init__(self, faults: FolderFaults) -> None:
        self._faults = faults
        self._seen: dict[Path, _Seen] = {}
        self._lock = threading.Lock()
        self.doubts: Counter[Doubt] = Counter()  # what the last look had to leave out

    def look(self, interrupted: Interrupted) -> list[Entry]:
        """All entries in the order of their paths.

        Raises TransferFault when the folder itself cannot be read. What cannot be read below it is
        counted in `doubts` and said in the log.
        """
        with self._lock:
            before, self._seen, doubts = self._seen, {}, Counter[Doubt]()
            for path in self._paths():
                interrupted()
                if isinstance(path, Doubt):
                    doubts[path] += 1
                elif (seen := _look_at(path, before.get(path))) is not None:
                    self._seen[path] = seen
                    if seen.doubt is not None:
                        doubts[seen.doubt] += 1
            if doubts and doubts != self.doubts:
                _log.warning("unreadable_files", node=self._faults.node, count=doubts.total(), files=len(self._seen))
            self.doubts = doubts
            return [seen.entry for seen in self._seen.values() if seen.entry is not None]

    def _paths(self) -> Iterator[Path | Doubt]:
        """Every file below, folder by folder; a doubt for a folder that cannot be read, and for a link."""
        folders = [self._faults.root]
        real_root = self._faults.root.resolve()
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as listing:
                    children = sorted((child for child in listing if child.name[0] != "."), key=lambda it: it.name)
            except OSError as error:
                if folder == self._faults.root:
                    raise self._faults.of(error, "list") from error
                if folder != self._faults.root / _FILE_SYSTEMS_OWN:
                    yield _doubt_of(error)
                continue
            folders += [Path(child.path) for child in reversed(children) if child.is_dir(follow_symlinks=False)]
            for child in children:
                if child.is_file(follow_symlinks=False):
                    yield Path(child.path)
                elif child.is_symlink() and not _leads_into(real_root, Path(child.path)):
                    yield Doubt.LINK


def _leads_into(root: Path, link: Path) -> bool:
    """Whether what the link means lies below the root and is looked at there."""
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # dangling, or a circle
        return False


def _doubt_of(error: Exception) -> Doubt:
    return Doubt.DENIED if isinstance(error, PermissionError) else Doubt.DAMAGED


def _look_at(path: Path, before: _Seen | None) -> _Seen | None:
    """What is at the path, from memory where it is unchanged; None when it went away meanwhile."""
    try:
        status = path.stat(follow_symlinks=False)
        known = before is not None and (before.modified_ns, before.size) == (status.st_mtime_ns, status.st_size)
        if before is not None and known and before.doubt is not Doubt.DENIED:
            return before
        return _Seen(status.st_mtime_ns, status.st_size, _read(path, status), None)
    except FileNotFoundError:
        return None
    except NotDicomError:
        doubt = Doubt.DAMAGED if _looks_like_dicom(path) else None
    except (UnreadableError, OSError) as error:
        doubt = _doubt_of(error)
    return _Seen(status.st_mtime_ns, status.st_size, None, doubt)


def _looks_like_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return looks_like_dicom(path.name, file.read(132))
    except OSError:
        return True


def _read(path: Path, status: os.stat_result) -> Entry | None:
    """The file's entry; None for a DICOMDIR. Raises NotDicomError, UnreadableError, OSError."""
    with path.open("rb") as file:
        description = describe(file)
    return None if description is None else Entry(path, status.st_mtime_ns, status.st_size, description)
