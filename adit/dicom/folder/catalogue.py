"""What a folder holds: one entry per DICOM file, by its header. Asked by `node` for find and fetch.

Headers are read once a process and again only when a file's size or modification time changed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Final

import structlog

from adit.dicom.folder.faults import FolderFaults, Interrupted
from adit.dicom.folder.file_instance import FileInstance
from adit.dicom.folder.file_meta import NotDicomError, read_file_meta
from adit.dicom.folder.header import UnreadableError, read_header

_log = structlog.get_logger(__name__)

KEYWORDS: Final = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "InstanceNumber",
    "NumberOfFrames",
)
"""Attributes that are kept in memory for every file; others are read again when a query returns them."""

_AT: Final = {keyword: number for number, keyword in enumerate(KEYWORDS)}
_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that holds an instance."""

    path: Path
    modified_ns: int
    size: int  # of the file
    offset: int  # of the data set in it
    transfer_syntax_uid: str
    truncated: bool  # ends before its pixel data do
    values: tuple[str, ...]  # of KEYWORDS, as DICOM writes them

    def __getitem__(self, keyword: str) -> str:
        return self.values[_AT[keyword]]

    def instance(self, faults: FolderFaults) -> FileInstance:
        return FileInstance(
            path=self.path,
            modified_ns=self.modified_ns,
            offset=self.offset,
            size=self.size - self.offset,
            study_instance_uid=self["StudyInstanceUID"],
            series_instance_uid=self["SeriesInstanceUID"],
            sop_class_uid=self["SOPClassUID"],
            sop_instance_uid=self["SOPInstanceUID"],
            transfer_syntax_uid=self.transfer_syntax_uid,
            faults=faults,
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a path; `entry` is None when it holds no instance, `damaged` when it should."""

    modified_ns: int
    size: int
    entry: Entry | None
    damaged: bool


class Catalogue:
    """The entries below a folder. Hidden files and symbolic links are left out; safe for threads."""

    def __init__(self, faults: FolderFaults) -> None:
        self._faults = faults
        self._seen: dict[Path, _Seen] = {}
        self._lock = threading.Lock()
        self.unreadable = 0  # files and folders that the last look could not read

    def look(self, interrupted: Interrupted) -> list[Entry]:
        """All entries in the order of their paths.

        Raises TransferFault when the folder itself cannot be read. What cannot be read below it is
        counted in `unreadable` and said in the log.
        """
        with self._lock:
            before, self._seen, unreadable = self._seen, {}, 0
            for path in self._paths():
                interrupted()
                seen = None if path is None else _look_at(path, before.get(path))
                if path is not None and seen is not None:
                    self._seen[path] = seen
                unreadable += path is None or (seen is not None and seen.damaged)
            if unreadable and unreadable != self.unreadable:
                _log.warning("unreadable_files", node=self._faults.node, count=unreadable, files=len(self._seen))
            self.unreadable = unreadable
            return [seen.entry for seen in self._seen.values() if seen.entry is not None]

    def _paths(self) -> Iterator[Path | None]:
        """Every file below, folder by folder; None for a folder that cannot be read."""
        folders = [self._faults.root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as listing:
                    children = sorted((child for child in listing if child.name[0] != "."), key=lambda it: it.name)
            except OSError as error:
                if folder == self._faults.root:
                    raise self._faults.of(error, "list") from error
                yield None
                continue
            folders += [Path(child.path) for child in reversed(children) if child.is_dir(follow_symlinks=False)]
            yield from (Path(child.path) for child in children if child.is_file(follow_symlinks=False))


def _look_at(path: Path, before: _Seen | None) -> _Seen | None:
    """What is at the path, from memory where it is unchanged; None when it went away meanwhile."""
    try:
        status = path.stat(follow_symlinks=False)
        if before is not None and (before.modified_ns, before.size) == (status.st_mtime_ns, status.st_size):
            return before
        entry, damaged = _read(path, status), False
    except FileNotFoundError:
        return None
    except NotDicomError:
        entry, damaged = None, path.suffix.lower() in (".dcm", ".dicom", ".ima")
    except (UnreadableError, OSError):
        entry, damaged = None, True
    return _Seen(status.st_mtime_ns, status.st_size, entry, damaged)


def _read(path: Path, status: os.stat_result) -> Entry | None:
    """The file's entry; None for a DICOMDIR. Raises NotDicomError, UnreadableError, OSError."""
    with path.open("rb") as file:
        meta = read_file_meta(file)
        file.seek(meta.offset)
        header = read_header(file, meta.transfer_syntax_uid, KEYWORDS)
    if meta.sop_class_uid == _MEDIA_DIRECTORY:
        return None
    values = tuple(intern(header.text(keyword)) for keyword in KEYWORDS)
    if not all(values[: _AT["PatientID"]]):
        raise (UnreadableError if meta.sop_class_uid else NotDicomError)(
            "it lacks one of the UIDs that identify an instance"
        )
    return Entry(
        path=path,
        modified_ns=status.st_mtime_ns,
        size=status.st_size,
        offset=meta.offset,
        transfer_syntax_uid=intern(meta.transfer_syntax_uid),
        truncated=header.truncated,
        values=values,
    )
