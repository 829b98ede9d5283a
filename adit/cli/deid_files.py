"""De-identifies DICOM files: from one file into another. Called by `adit deid`.

Nothing stands under its name in the target folder before it was treated and verified as a whole.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from adit.deid.engine.byte_walk import WholeNeededError
from adit.deid.engine.instance import Deidentified, Engine
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, encoded_file_meta, file_meta_of

_HEADS: Final = (2**14, 2**18)
"""Bytes of a file that are read at once, then, if it needs more of them; most headers fit into the first."""

_PIECE: Final = 2**20
"""Bytes that are read and written at once, with all new ones that stand before them. Measured: a new header moves the
pixels to another place in their pages, and then the kernel's own ways of copying cost half as much again."""

_PIECES: Final = 512  # in one call
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def files_in(folder: Path) -> Iterator[Path]:
    """All regular files, sorted; links are not followed."""
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        if entry.is_dir(follow_symlinks=False):
            yield from files_in(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


class SeveralPatientsError(Exception):
    """The file is of another patient than those before, and one pseudonym cannot stand for both."""


def deidentify(
    source: Path,
    target: Path,
    engine: Engine,
    *,
    pseudonym: str | None = None,
    patient_id: str | None = None,
    taken: Collection[str] = (),
) -> Deidentified:
    """Writes the treated instance below `target`, under names that its new UIDs make; `taken` UIDs are refused.

    `patient_id` tells whose it must be, where that is known. Raises NotDicomError, Quarantine, LeftOut,
    SeveralPatientsError, OSError; then nothing is left there.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size
        for count in _HEADS:
            head = os.pread(descriptor, count, 0)
            try:
                made = _of(patient_id, _treated(head, size, engine, descriptor, pseudonym))
                _write(made, target, descriptor, taken)
                return made
            except WholeNeededError:
                continue
            except NotDicomError:
                if size <= count:  # else file meta information may go on
                    raise
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
            made = _of(patient_id, _treated(whole, size, engine, descriptor, pseudonym))
            _write(made, target, descriptor, taken)
            return made
    finally:
        os.close(descriptor)


def _of(patient_id: str | None, made: Deidentified) -> Deidentified:
    if patient_id is not None and made.subject.patient_id != patient_id:
        raise SeveralPatientsError
    return made


def place_of(made: Deidentified) -> str:
    """Neutral names: the pseudonym could hold what a folder's name cannot."""
    return f"{made.study_instance_uid or 'study'}/{made.series_instance_uid or 'series'}/{made.sop_instance_uid}"


def _treated(
    data: bytes | mmap.mmap, size: int, engine: Engine, descriptor: int, pseudonym: str | None
) -> Deidentified:
    meta = file_meta_of(data)
    return engine.treat(
        data,
        meta.transfer_syntax_uid,
        start=meta.offset,
        end=size,
        pseudonym=pseudonym,
        read=lambda start, count: os.pread(descriptor, count, start),
    )


def _write(made: Deidentified, target: Path, source: int, taken: Collection[str]) -> None:
    if made.sop_instance_uid in taken:
        raise Quarantine(Reason.DUPLICATE_INSTANCE, "00080018", "an instance of the same UID was written already")
    path = f"{target}/{place_of(made)}"
    part = f"{path}.part"
    try:
        file = os.open(part, _NEW_FILE, 0o644)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, _NEW_FILE, 0o644)
    try:
        try:
            _write_parts(made, file, source)
        finally:
            os.close(file)
        Path(part).replace(f"{path}.dcm")
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _write_parts(made: Deidentified, file: int, source: int) -> None:
    pending = [encoded_file_meta(made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid)]
    size = 0
    for piece in _pieces(made, source):
        pending.append(piece)
        size += len(piece)
        if size >= _PIECE or len(pending) >= _PIECES:
            _write_all(file, pending)
            pending, size = [], 0
    _write_all(file, pending)


def _pieces(made: Deidentified, source: int) -> Iterator[bytes]:
    for part in made.parts:
        if isinstance(part, bytes):
            yield part
            continue
        for start in range(part[0], part[1], _PIECE):
            yield _read(source, start, min(part[1], start + _PIECE))


def _read(source: int, start: int, end: int) -> bytes:
    data = os.pread(source, end - start, start)
    if len(data) < end - start:
        raise OSError(f"the original has become shorter by {end - start - len(data)} bytes")
    return data


def _write_all(file: int, pieces: list[bytes]) -> None:
    if not pieces:
        return
    written = os.writev(file, pieces)
    for piece in pieces:
        if written >= len(piece):
            written -= len(piece)
            continue
        rest = memoryview(piece)[written:]
        written = 0
        while rest:
            rest = rest[os.write(file, rest) :]
