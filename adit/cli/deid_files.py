"""De-identifies DICOM files: from one file into another, the pixels by the kernel. Called by `adit deid`.

Nothing stands under its name in the target folder before it was treated and verified as a whole.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from adit.deid.engine.byte_walk import WholeNeededError
from adit.deid.engine.instance import Deidentified, Engine
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import FileMeta, encoded_file_meta, read_file_meta

_HEAD: Final = 2**16
"""Bytes of a file that are read at once; most headers fit."""


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
        head = os.pread(descriptor, _HEAD, 0)
        meta = read_file_meta(BytesIO(head))
        try:
            made = _of(patient_id, _treated(head, size, meta, engine, descriptor, pseudonym))
            _write(made, target, descriptor, taken)
        except WholeNeededError:
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
                made = _of(patient_id, _treated(whole, size, meta, engine, descriptor, pseudonym))
                _write(made, target, descriptor, taken)
        return made
    finally:
        os.close(descriptor)


def _of(patient_id: str | None, made: Deidentified) -> Deidentified:
    if patient_id is not None and made.subject.patient_id != patient_id:
        raise SeveralPatientsError
    return made


def place_of(made: Deidentified) -> Path:
    """Neutral names: the pseudonym could hold what a folder's name cannot."""
    series = made.series_instance_uid or "series"
    return Path(made.study_instance_uid or "study", series, f"{made.sop_instance_uid}.dcm")


def _treated(
    data: bytes | mmap.mmap, size: int, meta: FileMeta, engine: Engine, descriptor: int, pseudonym: str | None
) -> Deidentified:
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
    path = target / place_of(made)
    part = path.with_suffix(".part")
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        try:
            pending = [encoded_file_meta(made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid)]
            for each in made.parts:
                if isinstance(each, bytes):
                    pending.append(each)
                    continue
                _write_all(file, pending)
                pending = []
                _copy(source, file, *each)
            _write_all(file, pending)
        finally:
            os.close(file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_all(file: int, pieces: list[bytes]) -> None:
    data = memoryview(b"".join(pieces))
    while data:
        data = data[os.write(file, data) :]


def _copy(source: int, file: int, start: int, end: int) -> None:
    """Bytes of the original, by the kernel."""
    while start < end:
        copied = os.copy_file_range(source, file, end - start, start)
        if not copied:
            raise OSError(f"the original has become shorter by {end - start} bytes")
        start += copied
