"""The body of one STOW-RS request: DICOM files (PS3.10) in a multipart message, made while it is sent.

Made by `store` for each try. Its length is known beforehand, because many servers take no chunked body. The data
sets go as they are, behind file meta information of our own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from uuid import uuid4

from adit.dicom.dicomweb.server import Server
from adit.dicom.file_meta import encoded_file_meta
from adit.dicom.node import Instance
from adit.model.outcome import FaultCode, TransferFault

_PIECE: Final = 256 * 1024


class Upload:
    """`sent` holds the SHA-256 of each data set that went wholly, by the instance's place in the request."""

    def __init__(self, server: Server, instances: Sequence[Instance], meter: Callable[[int], None]) -> None:
        self._server = server
        self.instances = instances
        self._meter = meter
        self._boundary = uuid4().hex
        self._heads = [self._head(instance) for instance in instances]
        self._end = f"--{self._boundary}--\r\n".encode()
        self.sent: list[str] = []

    @property
    def content_type(self) -> str:
        return f'multipart/related; type="application/dicom"; boundary={self._boundary}'

    @property
    def size(self) -> int:
        heads = sum(len(head) + 2 for head in self._heads)
        return heads + sum(instance.size for instance in self.instances) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """Raises TransferFault naming the instance that cannot be read."""
        for head, instance in zip(self._heads, self.instances, strict=True):
            yield head
            yield from self._data_set(instance)
            yield b"\r\n"
        yield self._end

    def _data_set(self, instance: Instance) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        try:
            with instance.open() as reader:
                while piece := reader.read(_PIECE):
                    self._meter(len(piece))
                    digest.update(piece)
                    size += len(piece)
                    if size > instance.size:
                        break
                    yield piece
        except OSError as error:
            raise self._unreadable(instance, error.strerror or type(error).__name__) from error
        if size != instance.size:
            raise self._unreadable(instance, f"{size} of {instance.size} bytes came")
        self.sent.append(digest.hexdigest())

    def _head(self, instance: Instance) -> bytes:
        meta = encoded_file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
        return f"--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + meta

    def _unreadable(self, instance: Instance, why: str) -> TransferFault:
        return self._server.fault(
            FaultCode.IO_FAILED,
            f"The instance cannot be read from the spool folder ({why})",
            "Check the disk that holds ADIT_SPOOL.",
            instance=instance.sop_instance_uid,
        )
