"""Whether an archive is there, whole and unchanged: read again from the disk, decrypted, member by member.

Called by `node.verify`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from adit.dicom.archive.container import DamagedError, Take, read
from adit.dicom.file_meta import encoded_file_meta
from adit.dicom.folder.faults import FolderFaults, Interrupted
from adit.dicom.node import Proof, Stored
from adit.model.archive import ArchiveFormat
from adit.model.outcome import FaultCode


def prove(
    stored: Sequence[Stored],
    archive_format: ArchiveFormat,
    password: str,
    faults: FolderFaults,
    interrupted: Interrupted,
) -> Iterator[Proof]:
    """Each archive is read once, whatever is asked about it. Raises TransferFault where nothing can be said."""
    archives: dict[PurePosixPath, dict[str, Stored]] = {}
    for one in stored:
        place = PurePosixPath(one.location or "")
        if len(place.parts) < 3 or place.is_absolute() or ".." in place.parts:
            yield _absent(one, "It is not known where the instance was written", faults)
            continue
        archives.setdefault(PurePosixPath(*place.parts[:2]), {})["/".join(place.parts[2:])] = one
    for archive, members in archives.items():
        found = _Found(members, interrupted)
        why = "The archive does not hold the instance as it was written"
        try:
            with (faults.root / archive).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what the cache has proves nothing
                read(archive_format, file, password, found.begin)
        except DamagedError:
            why = "The archive is damaged, or has another password than the node's secret says"
            found.members.clear()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if not faults.root.is_dir():
                raise faults.missing() from error
            why = "The archive of an instance is not there any more"
            found.members.clear()
        except OSError as error:
            raise faults.of(error, "read an archive again from") from error
        for name, one in members.items():
            member = found.members.get(name)
            present = member is not None and member.is_as_written()
            yield Proof(one.sop_instance_uid, present=True) if present else _absent(one, why, faults)


class _Found:
    """The members that were read so far, of those that are expected."""

    def __init__(self, expected: dict[str, Stored], interrupted: Interrupted) -> None:
        self._expected = expected
        self._interrupted = interrupted
        self.members: dict[str, _Member] = {}

    def begin(self, name: str) -> Take:
        stored = self._expected.get(name)
        if stored is None:
            return self._pass_over
        member = self.members[name] = _Member(stored)

        def take(piece: bytes) -> None:
            self._interrupted()
            member.take(piece)

        return take

    def _pass_over(self, piece: bytes) -> None:
        self._interrupted()


class _Member:
    """One member while it is read, beside what was written."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._meta = encoded_file_meta(stored.sop_class_uid, stored.sop_instance_uid, stored.transfer_syntax_uid)
        self._differs = False
        self._at = 0
        self._digest = hashlib.sha256()

    def take(self, piece: bytes) -> None:
        head = self._meta[self._at : self._at + len(piece)]
        self._differs = self._differs or not piece.startswith(head)
        self._digest.update(memoryview(piece)[len(head) :])
        self._at += len(piece)

    def is_as_written(self) -> bool:
        return (
            not self._differs
            and self._at == len(self._meta) + self._stored.size
            and self._digest.hexdigest() == self._stored.sha256
        )


def _absent(stored: Stored, what: str, faults: FolderFaults) -> Proof:
    uid = stored.sop_instance_uid
    cure = "Let nobody change or move archives during a transfer; the next attempt makes it anew."
    return Proof(uid, present=False, fault=faults.fault(FaultCode.NOT_PROVEN, f"{what}.", cure, uid).fault)
