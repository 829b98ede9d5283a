"""Whether an instance that was stored is there: asked of the bucket again. Called by `node.verify` and `channel`.

With each object goes a label: what was written, and by which checksum the server must know it. The server reckons its
own checksum from the bytes that it took, so that label, size and checksum together speak for the content. Where a
server states no checksum, or the node asks for it (`proof: Content`), the content is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from adit.dicom.file_meta import FileMeta, NotDicomError, read_file_meta
from adit.dicom.node import Proof, Stored
from adit.dicom.s3.bucket import Bucket, Held, Listed
from adit.dicom.s3.faults import status_of
from adit.model.outcome import FaultCode
from adit.model.s3 import BucketProof

_META_WITHIN: Final = 2**16  # bytes: ours has a few hundred
_SHA256, _SYNTAX, _OFFSET, _CHECKSUM = "adit-sha256", "adit-transfer-syntax", "adit-offset", "adit-checksum"


@dataclass(frozen=True, slots=True)
class Label:
    """What goes with an object as its metadata."""

    sha256: str  # of the data set, in hex
    transfer_syntax_uid: str
    offset: int  # of the data set in the object
    checksum: str  # of the object, as the server must state it

    def metadata(self) -> dict[str, str]:
        values = (self.sha256, self.transfer_syntax_uid, str(self.offset), self.checksum)
        return dict(zip((_SHA256, _SYNTAX, _OFFSET, _CHECKSUM), values, strict=True))

    @staticmethod
    def read(metadata: Mapping[str, str]) -> Label | None:
        """None of an object that is not ours."""
        values = [metadata.get(name, "") for name in (_SHA256, _SYNTAX, _OFFSET, _CHECKSUM)]
        if not all(values) or not values[2].isdecimal():
            return None
        return Label(values[0], values[1], int(values[2]), values[3])


def prove(stored: Stored, bucket: Bucket) -> Proof:
    """Raises TransferFault when the bucket cannot be asked, or is gone, which proves nothing either way."""
    uid = stored.sop_instance_uid
    if is_there(stored, bucket):
        return Proof(uid, present=True)
    bucket.require()
    cure = "Let nobody change or delete objects during a transfer."
    message = "The object of an instance that was written is not there any more, or is not the one that was written."
    return Proof(uid, present=False, fault=bucket.faults.fault(FaultCode.NOT_PROVEN, message, cure, uid).fault)


def is_there(stored: Stored, bucket: Bucket) -> bool:
    """Whether the object at `stored.location` is the one that was written. Raises TransferFault."""
    key = stored.location
    if not key or not key.startswith(bucket.s3.root):
        return False
    held = bucket.head(key, stored.sop_instance_uid)
    if held is None:
        return False
    bucket.require_encryption(held.encryption)
    label = Label.read(held.metadata)
    if bucket.s3.proof is BucketProof.CHECKSUM and label is not None and held.checksum is not None:
        written = (label.sha256, label.transfer_syntax_uid, label.checksum, label.offset + stored.size)
        return written == (stored.sha256, stored.transfer_syntax_uid, held.checksum, held.size)
    return _content_is(stored, held, bucket)


def _content_is(stored: Stored, held: Held, bucket: Bucket) -> bool:
    if held.size < stored.size or held.size > stored.size + _META_WITHIN:
        return False
    reading = _Reading()
    listed = Listed(str(stored.location), held.size, held.etag)
    try:
        bucket.calls.run(lambda: bucket.stream(listed, 0, reading.take))
    except ClientError as error:
        if status_of(error) in (404, 412):
            return False  # it went away, or changed, while it was read
        raise bucket.faults.of(error, "read an instance again from", FaultCode.QUERY_FAILED) from error
    except BotoCoreError as error:
        raise bucket.faults.of(error, "read an instance again from", FaultCode.QUERY_FAILED) from error
    meta = reading.meta()
    return meta is not None and (
        (meta.sop_instance_uid, meta.transfer_syntax_uid, held.size - meta.offset, reading.digest.hexdigest())
        == (stored.sop_instance_uid, stored.transfer_syntax_uid, stored.size, stored.sha256)
    )


class _Reading:
    """Digests a file's data set as its pieces come; the first piece holds all of the file meta information."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._start = b""
        self._meta: FileMeta | None = None
        self._other = False  # it is no DICOM file

    def take(self, piece: bytes) -> None:
        if self._meta is not None:
            self.digest.update(piece)
            return
        if self._other:
            return
        self._start += piece
        if len(self._start) >= _META_WITHIN:
            self._settle()

    def meta(self) -> FileMeta | None:
        """Once all has come; None of what is no DICOM file."""
        if self._meta is None and not self._other:
            self._settle()
        return self._meta

    def _settle(self) -> None:
        try:
            self._meta = read_file_meta(BytesIO(self._start))
        except NotDicomError:
            self._other = True
            return
        self.digest.update(self._start[self._meta.offset :])
