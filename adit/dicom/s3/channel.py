"""Writes instances to a bucket, each by one conditional write. Made by `node.open_store`.

An object is there as a whole or not at all, and under its key nothing else ever is: who finds the key taken compares.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from adit.dicom.file_meta import encoded_file_meta
from adit.dicom.folder.naming import JobFolder
from adit.dicom.node import Instance, Stored
from adit.dicom.s3.bucket import Bucket, checksum_of
from adit.dicom.s3.naming import key_of
from adit.dicom.s3.proof import Label, is_there
from adit.model.outcome import FaultCode, TransferFault

PART: Final = 8 * 2**20
"""Bytes of a part, and of the biggest object that is written in one request: what a channel holds in memory."""

_PIECE: Final = 2**18
_MOST_PARTS: Final = 9_000  # of the 10,000 that an upload may have


class S3Channel:
    """Implements `adit.dicom.node.StoreChannel`; any number may write at once.

    Storing an instance again is harmless: the object that is there is proven instead. Another one under the same key
    is INSTANCE_CONFLICT, and stays.
    """

    def __init__(self, bucket: Bucket, job: JobFolder) -> None:
        self._bucket = bucket
        self._job = job

    def store(self, instance: Instance) -> Stored:
        """Durable when it returns. Raises TransferFault: naming the instance, or what is wrong with the bucket."""
        self._bucket.calls.check()
        key = key_of(self._bucket.s3.root, self._job, instance)
        file = _File.of(instance)
        with self._readable(instance):
            summary = file.summary()
        stored = Stored(
            sop_instance_uid=instance.sop_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            size=instance.size,
            sha256=summary.sha256,
            location=key,
        )
        # Asked first, although the write is conditional: there are servers that ignore the condition.
        if not self._taken(key, instance):
            with self._readable(instance):
                if self._write(key, file, summary, instance):
                    return stored
        self._compare(stored)
        return stored

    def close(self) -> None:
        """Everything acknowledged is durable already."""

    def _taken(self, key: str, instance: Instance) -> bool:
        try:
            return self._bucket.head(key, instance.sop_instance_uid) is not None
        except TransferFault as fault:
            if fault.fault.code is FaultCode.PERMISSION_DENIED:
                return False  # so is answered, to one who may not list, what is not there; the write will tell
            raise

    def _write(self, key: str, file: _File, summary: _Summary, instance: Instance) -> bool:
        label = Label(summary.sha256, instance.transfer_syntax_uid, len(file.meta), summary.checksum).metadata()
        uid = instance.sop_instance_uid
        if len(summary.parts) == 1:
            [whole] = file.parts()
            return self._bucket.put(key, whole, summary.checksum, label, uid)
        return self._bucket.put_parts(key, file.parts(), summary.parts, label, uid)

    @contextmanager
    def _readable(self, instance: Instance) -> Iterator[None]:
        """It is read twice, and may fail either time."""
        try:
            yield
        except (OSError, EOFError) as error:
            raise self._bucket.faults.fault(
                FaultCode.IO_FAILED,
                f"An instance of {instance.size} bytes could not be read to its end.",
                "Check the worker's disk.",
                instance.sop_instance_uid,
            ) from error

    def _compare(self, stored: Stored) -> None:
        if not is_there(stored, self._bucket):
            raise self._bucket.faults.fault(
                FaultCode.INSTANCE_CONFLICT,
                "The bucket has another object where this instance belongs, from a job of the same name and day.",
                "Move that job's objects away, or name the job differently, and start again.",
                stored.sop_instance_uid,
            )


@dataclass(frozen=True, slots=True)
class _Summary:
    """What is known of a file before a byte of it is sent."""

    sha256: str  # of the data set
    parts: tuple[str, ...]  # the parts' checksums

    @property
    def checksum(self) -> str:
        """As the server will state it: of one part its own, of several that of their digests, with their number."""
        if len(self.parts) == 1:
            return self.parts[0]
        return f"{b64encode(hashlib.sha256(b''.join(map(b64decode, self.parts))).digest()).decode()}-{len(self.parts)}"


@dataclass(frozen=True, slots=True)
class _File:
    """An instance as a DICOM file, read in parts as often as needed."""

    meta: bytes
    instance: Instance
    part_size: int

    @classmethod
    def of(cls, instance: Instance) -> _File:
        meta = encoded_file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
        return cls(meta, instance, max(PART, (len(meta) + instance.size) // _MOST_PARTS + 1))

    def parts(self) -> Iterator[bytearray]:
        """Each made in place: a copy of one is 8 MiB, for each thread. Raises EOFError when the instance has another
        length than it said.
        """
        left = self.instance.size
        head = self.meta
        with self.instance.open() as reader:
            while True:
                count = min(self.part_size - len(head), left)
                part = bytearray(len(head) + count)
                part[: len(head)] = head
                with memoryview(part)[len(head) :] as room:
                    _fill(room, reader)
                left -= count
                yield part
                if not left:
                    break
                head = b""
                del part
            if reader.read(1):
                raise EOFError

    def summary(self) -> _Summary:
        digest = hashlib.sha256()
        checksums = []
        for number, part in enumerate(self.parts()):
            checksums.append(checksum_of(part))
            with memoryview(part)[len(self.meta) if number == 0 else 0 :] as content:
                digest.update(content)
        return _Summary(digest.hexdigest(), tuple(checksums))


def _fill(room: memoryview, reader: BinaryIO) -> None:
    """Raises EOFError."""
    at = 0
    while at < len(room):
        piece = reader.read(min(len(room) - at, _PIECE))
        if not piece:
            raise EOFError
        room[at : at + len(piece)] = piece
        at += len(piece)
