"""De-identifies DICOM files: from files into others. Called by `adit deid`.

Nothing stands under its name in the target folder before it was treated and verified as a whole.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adit.deid.engine.byte_walk import WholeNeededError
from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.instance import Engine
from adit.deid.quarantine import LeftOut, Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, encoded_file_meta, file_meta_of

_HEADS: Final = (2**14, 2**18)
"""Bytes of a file that are read at once, then, if it needs more of them; most headers fit into the first."""

_PIECE: Final = 2**20
"""Bytes that are read and written at once, with all new ones that stand before them. Measured: a new header moves the
pixels to another place in their pages, and then the kernel's own ways of copying cost half as much again."""

_PIECES: Final = 512  # in one call

_TOGETHER: Final = 16
"""Headers that are treated before their files are written. Measured: a copy leaves nothing of what the engine works
with in the processor's caches, so that to take turns for each file costs a tenth more."""

_HELD: Final = 2**22
"""New bytes that may wait meanwhile."""

_PREFIX: Final = slice(128, 132)
_DICOMDIR: Final = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
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


Failure = NotDicomError | Quarantine | LeftOut | SeveralPatientsError | OSError


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A file that was treated, or not, and is to be written in its turn."""

    path: Path
    descriptor: int | None
    state: tuple[int, int] | None  # of the file, when it was treated
    result: Deidentified | Failure


def deidentified(
    files: Iterable[Path], target: Path, engine: Engine, *, pseudonym: str | None = None
) -> Iterator[tuple[Path, Deidentified | Failure]]:
    """Writes the treated instances below `target`, under names that their new UIDs make, and tells of each file in its
    turn what became of it, or why nothing stands there for it.

    A UID that was written already is refused, and where a pseudonym is given, all patients but the first.
    """
    taken: set[str] = set()
    buffer = memoryview(bytearray(_PIECE))
    whose: str | None = None
    waiting: list[_Waiting] = []
    held = 0
    try:
        for path in files:
            each = _begun(path, engine, pseudonym, whose)
            waiting.append(each)
            if isinstance(each.result, Deidentified):
                held += sum(len(part) for part in each.result.parts if isinstance(part, bytes))
                whose = None if pseudonym is None else each.result.subject.patient_id
            if len(waiting) >= _TOGETHER or held >= _HELD:
                yield from _ended(waiting, target, buffer, taken)
                held = 0
        yield from _ended(waiting, target, buffer, taken)
    finally:
        for each in waiting:
            _close(each)


def _begun(path: Path, engine: Engine, pseudonym: str | None, whose: str | None) -> _Waiting:
    descriptor = state = None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        state = _state_of(descriptor)
        return _Waiting(path, descriptor, state, _of(whose, treated_file(descriptor, engine, pseudonym)))
    except (NotDicomError, Quarantine, LeftOut, SeveralPatientsError, OSError) as error:
        return _Waiting(path, descriptor, state, error)
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise


def _ended(
    waiting: list[_Waiting], target: Path, buffer: memoryview, taken: set[str]
) -> Iterator[tuple[Path, Deidentified | Failure]]:
    while waiting:
        each = waiting.pop(0)
        result = each.result
        try:
            if isinstance(result, Deidentified):
                assert each.descriptor is not None  # noqa: S101 - it was read
                assert each.state is not None  # noqa: S101 - likewise
                _write(result, target, each.descriptor, each.state, buffer, taken)
                taken.add(result.sop_instance_uid)
        except (Quarantine, OSError) as error:
            result = error
        finally:
            _close(each)
        yield each.path, result


def _close(each: _Waiting) -> None:
    if each.descriptor is not None:
        os.close(each.descriptor)


def treated_file(descriptor: int, engine: Engine, pseudonym: str | None = None) -> Deidentified:
    """Nothing is written. Raises NotDicomError, Quarantine, LeftOut, OSError."""
    size = os.fstat(descriptor).st_size
    for count in _HEADS:
        head = os.pread(descriptor, count, 0)
        try:
            return _treated(head, size, engine, descriptor, pseudonym)
        except WholeNeededError:
            continue
        except NotDicomError as error:
            if size <= count:  # else file meta information may go on
                raise _unread(head, error) from None
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as whole:
        try:
            return _treated(whole, size, engine, descriptor, pseudonym)
        except NotDicomError as error:
            raise _unread(head, error) from None


def _unread(head: bytes, error: NotDicomError) -> NotDicomError | Quarantine:
    """What says that it is a DICOM file is refused with its reason, not passed by."""
    return Quarantine(Reason.MALFORMED, "", str(error)) if head[_PREFIX] == b"DICM" else error


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
    if meta.sop_class_uid == _DICOMDIR:
        raise Quarantine(Reason.IDENTIFIERS_MISSING, "", "it is a DICOMDIR, which lists other files, and no instance")
    return engine.treat(
        data,
        meta.transfer_syntax_uid,
        start=meta.offset,
        end=size,
        pseudonym=pseudonym,
        read=lambda start, count: os.pread(descriptor, count, start),
    )


def _state_of(descriptor: int) -> tuple[int, int]:
    """It is another one as soon as somebody has written to the file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def _write(
    made: Deidentified, target: Path, source: int, state: tuple[int, int], buffer: memoryview, taken: set[str]
) -> None:
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
            _write_parts(made, file, source, buffer)
        finally:
            os.close(file)
        if _state_of(source) != state:  # what was read of it now was never looked at
            raise Quarantine(Reason.CHANGED, "", "somebody wrote to its file meanwhile")
        os.replace(part, f"{path}.dcm")  # noqa: PTH105 - a Path costs as much as the renaming
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _write_parts(made: Deidentified, file: int, source: int, buffer: memoryview) -> None:
    """What stays of the original goes through `buffer`: to get memory for each piece anew costs more."""
    pending: list[bytes | memoryview] = [
        encoded_file_meta(made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid)
    ]
    used = 0

    def flush() -> None:
        nonlocal used
        _write_all(file, pending)
        pending.clear()
        used = 0

    for part in made.parts:
        if isinstance(part, bytes):
            pending.append(part)
        else:
            start, end = part
            while start < end:
                if used == len(buffer):
                    flush()
                piece = buffer[used : used + end - start]
                _read(source, start, piece)
                pending.append(piece)
                used += len(piece)
                start += len(piece)
        if len(pending) >= _PIECES:
            flush()
    flush()


def _read(source: int, start: int, piece: memoryview) -> None:
    while piece:
        count = os.preadv(source, [piece], start)
        if not count:
            raise OSError(f"the original has become shorter by {len(piece)} bytes")
        piece = piece[count:]
        start += count


def _write_all(file: int, pieces: list[bytes | memoryview]) -> None:
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
