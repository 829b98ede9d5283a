"""All that is asked of a bucket, request by request: interruptible, within the node's budget, its errors as faults.

Used by everything in this package; nothing else here knows boto3's client.
"""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError

from adit.dicom.rate import TokenBucket
from adit.dicom.s3.calls import Calls
from adit.dicom.s3.client import connect
from adit.dicom.s3.faults import S3Faults, UnreadableAnswerError, status_of
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from adit.model.s3 import S3, EncryptionMethod

PIECE: Final = 2**20
_CONTENT_TYPE: Final = "application/dicom"
_ENCRYPTIONS: Final = {EncryptionMethod.AES256: "AES256", EncryptionMethod.KMS: "aws:kms"}
_BROKE_OFF: Final = (HTTPClientError, IncompleteReadError)
_RANGE: Final = re.compile(r"\s*bytes\s+([0-9]{1,19})-")
_TIMES: Final = 3  # that a body which broke off is asked for again from there
Result = TypeVar("Result")


def checksum_of(content: bytes | bytearray | memoryview) -> str:
    """As S3 writes it."""
    return b64encode(sha256(content).digest()).decode()


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a bucket's list."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a bucket says of an object."""

    size: int
    etag: str
    checksum: str | None  # SHA-256, as the server reckoned it when it took the object; of a whole or of its parts
    encryption: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Bucket:
    """One bucket, by one client. Safe for threads; raises TransferFault."""

    def __init__(self, node: str, s3: S3, share: Share, secrets: Path | None) -> None:
        self.s3 = s3
        self.faults = S3Faults(node, s3)
        self.width = max(1, share.associations)
        self.calls = Calls(self.faults.interrupted)
        self._secrets = secrets
        self._lock = threading.Lock()
        self._connected: Any = None
        queries, rate = share.queries_per_second, share.bytes_per_second
        self._queries = TokenBucket(queries, max(1.0, queries), time.monotonic) if queries else None
        self._bytes = TokenBucket(rate, rate, time.monotonic) if rate else None

    # --- writing ---

    def put(self, key: str, content: bytes | bytearray, checksum: str, metadata: Mapping[str, str], uid: str) -> bool:
        """Whether it was written; False when the key is taken. Durable when it returns."""
        self._meter(len(content))
        answer = self._conditionally(
            lambda client: client.put_object(
                Bucket=self.s3.bucket,
                Key=key,
                Body=content,
                IfNoneMatch="*",
                ChecksumSHA256=checksum,
                Metadata=dict(metadata),
                ContentType=_CONTENT_TYPE,
                **self._encryption(),
            ),
            uid,
        )
        if answer is not None:
            self.require_encryption(answer.get("ServerSideEncryption"))
        return answer is not None

    def put_parts(
        self,
        key: str,
        parts: Iterable[bytes | bytearray],
        checksums: Iterable[str],
        metadata: Mapping[str, str],
        uid: str,
    ) -> bool:
        """The same for an object that comes in parts, one of them in memory at a time. Nothing stays of a failure."""
        begun = self._write(
            lambda client: client.create_multipart_upload(
                Bucket=self.s3.bucket,
                Key=key,
                ChecksumAlgorithm="SHA256",
                Metadata=dict(metadata),
                ContentType=_CONTENT_TYPE,
                **self._encryption(),
            ),
            uid,
        )
        upload = {"Bucket": self.s3.bucket, "Key": key, "UploadId": self._said(begun, "UploadId")}
        try:
            done = [
                self._put_part(upload, number, part, checksum, uid)
                for number, (part, checksum) in enumerate(zip(parts, checksums, strict=True), 1)
            ]
            answer = self._conditionally(
                lambda client: client.complete_multipart_upload(
                    **upload, MultipartUpload={"Parts": done}, IfNoneMatch="*"
                ),
                uid,
            )
        except BaseException:
            self._abandon(upload)
            raise
        if answer is None:
            self._abandon(upload)
            return False
        if self.s3.encryption is not None and (held := self.head(key, uid)) is not None:
            self.require_encryption(held.encryption)  # not every server says so in its answers before
        return True

    def _put_part(
        self, upload: Mapping[str, str], number: int, part: bytes | bytearray, checksum: str, uid: str
    ) -> dict[str, Any]:
        self._meter(len(part))
        answer = self._write(
            lambda client: client.upload_part(**upload, PartNumber=number, Body=part, ChecksumSHA256=checksum), uid
        )
        return {"PartNumber": number, "ETag": self._said(answer, "ETag"), "ChecksumSHA256": checksum}

    def _said(self, answer: Mapping[str, Any], name: str) -> str:
        value = answer.get(name)
        if value:
            return str(value)
        raise self.faults.fault(
            FaultCode.STORE_FAILED,
            f"The server of {self.faults.where} answers a write without the {name} that S3 has there.",
            "See that s3.endpoint leads to an S3 server.",
        )

    def can_begin_upload(self, key: str) -> None:
        """Begins a write and takes it back, which leaves nothing. Raises TransferFault where writing is refused."""
        begun = self._write(lambda client: client.create_multipart_upload(Bucket=self.s3.bucket, Key=key), None)
        upload = {"Bucket": self.s3.bucket, "Key": key, "UploadId": self._said(begun, "UploadId")}
        self._write(lambda client: client.abort_multipart_upload(**upload), None)

    def clear_uploads(self, prefix: str, older_than: float) -> None:
        """Ends the uploads below a prefix that were begun so many seconds ago: what killed attempts left.

        They are invisible, and cost room. Where that is not allowed they are left to the bucket's own rules.
        """
        try:
            answer = self._ask(
                lambda client: client.list_multipart_uploads(Bucket=self.s3.bucket, Prefix=prefix),
                "list the unfinished uploads of",
                FaultCode.STORE_FAILED,
            )
        except TransferFault as fault:
            if fault.fault.code is FaultCode.INTERRUPTED:
                raise
            return
        for each in answer.get("Uploads", ()):
            if time.time() - each["Initiated"].timestamp() > older_than:
                self._abandon({"Bucket": self.s3.bucket, "Key": each["Key"], "UploadId": each["UploadId"]})

    def _abandon(self, upload: Mapping[str, str]) -> None:
        """Nobody waits for it: what fails here is cleared away by a later attempt."""

        def abort() -> None:
            try:
                self._client().abort_multipart_upload(**upload)
            except (BotoCoreError, ClientError):
                return

        threading.Thread(target=abort, name="s3-abandon", daemon=True).start()

    def _conditionally(self, request: Callable[[Any], Any], uid: str) -> Any:
        """The answer; None when the key is taken. A write at the same moment by another is waited for."""
        for pause in (0.2, 1.0, None):
            try:
                return self._run(request)
            except ClientError as error:
                if status_of(error) == 412:
                    return None
                if status_of(error) == 409 and pause is not None:
                    self.calls.wait(pause)
                    continue
                raise self._fault(error, "write an instance to", FaultCode.STORE_FAILED, uid) from error
            except BotoCoreError as error:
                raise self._fault(error, "write an instance to", FaultCode.STORE_FAILED, uid) from error
        raise AssertionError("the last try returns or raises")

    def _write(self, request: Callable[[Any], Any], uid: str | None) -> Any:
        return self._ask(request, "write an instance to", FaultCode.STORE_FAILED, uid)

    def _encryption(self) -> dict[str, str]:
        asked = self.s3.encryption
        if asked is None:
            return {}
        key = {} if asked.key_id is None else {"SSEKMSKeyId": asked.key_id}
        return {"ServerSideEncryption": _ENCRYPTIONS[asked.method], **key}

    def require_encryption(self, answered: str | None) -> None:
        """Raises SERVICE_NOT_OFFERED where the server did not do what was asked for."""
        asked = self.s3.encryption
        if asked is not None and answered != _ENCRYPTIONS[asked.method]:
            raise self.faults.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"The server of {self.faults.where} does not encrypt as s3.encryption asks for.",
                "Have it set up there, or leave s3.encryption out; delete there what was written without.",
            )

    # --- asking ---

    def head(self, key: str, uid: str | None = None) -> Held | None:
        """What is there; None for nothing."""
        try:
            answer = self._run(
                lambda client: client.head_object(Bucket=self.s3.bucket, Key=key, ChecksumMode="ENABLED")
            )
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise self._fault(error, "ask for an instance in", FaultCode.QUERY_FAILED, uid) from error
        except BotoCoreError as error:
            raise self._fault(error, "ask for an instance in", FaultCode.QUERY_FAILED, uid) from error
        if "ETag" not in answer or "ContentLength" not in answer:
            raise self.faults.of(UnreadableAnswerError(), "ask for an instance in", FaultCode.QUERY_FAILED, uid)
        return Held(
            size=int(answer["ContentLength"]),
            etag=answer["ETag"],
            checksum=answer.get("ChecksumSHA256"),
            encryption=answer.get("ServerSideEncryption"),
            metadata=answer.get("Metadata", {}),
        )

    def require(self) -> None:
        """Raises FOLDER_MISSING when the bucket itself is gone."""
        try:
            self._run(lambda client: client.head_bucket(Bucket=self.s3.bucket))
        except ClientError as error:
            if status_of(error) == 404:
                raise self.faults.missing() from error
            raise self.faults.of(error, "ask for", FaultCode.QUERY_FAILED) from error
        except BotoCoreError as error:
            raise self.faults.of(error, "ask for", FaultCode.QUERY_FAILED) from error

    def pages(self, page_size: int = 1000) -> Iterator[list[Listed]]:
        """All objects below the prefix, in the order of their keys."""
        token: dict[str, str] = {}
        while True:
            self.query()
            try:
                answer = self._ask(partial(self._page, page_size, token), "list", FaultCode.QUERY_FAILED)
                more = answer["IsTruncated"]
                page = [Listed(each["Key"], int(each["Size"]), each["ETag"]) for each in answer.get("Contents", ())]
                following = {"ContinuationToken": answer["NextContinuationToken"]} if more else {}
            except (KeyError, ValueError) as error:
                raise self._no_list("answers with something that is no list of objects") from error
            yield page
            if not more:
                return
            if following == token:
                raise self._no_list("has more to list, and does not go on where it stopped")
            token = following

    def _no_list(self, what: str) -> TransferFault:
        return self.faults.fault(
            FaultCode.QUERY_FAILED,
            f"Could not list {self.faults.where}: the server {what}.",
            "See that s3.endpoint leads to an S3 server.",
        )

    def _page(self, size: int, token: Mapping[str, str], client: Any) -> Any:
        return client.list_objects_v2(Bucket=self.s3.bucket, Prefix=self.s3.root, MaxKeys=size, **token)

    def read(self, listed: Listed, start: int, count: int) -> bytes:
        """So many bytes of an object, as it was when it was listed. Raises boto3's errors: for `catalogue` to judge."""
        self.query()
        last = min(start + count, listed.size) - 1
        self._meter(last + 1 - start)

        def get(client: Any) -> bytes:
            answer = client.get_object(
                Bucket=self.s3.bucket, Key=listed.key, IfMatch=listed.etag, Range=f"bytes={start}-{last}"
            )
            _require_same(answer, listed)
            with closing(answer["Body"]) as body:
                passed = start - _first_byte(answer, at_most=start)
                while passed and (piece := body.read(min(PIECE, passed))):
                    passed -= len(piece)
                content: bytes = body.read(last + 1 - start)
            return content

        return self._run(get)

    def stream(self, listed: Listed, start: int, take: Callable[[bytes], object]) -> None:
        """Hands an object's bytes from `start` on to `take`, piece by piece, in the thread of the caller.

        To be called within `calls.start`. What breaks off is asked for from there; an object that changed since
        it was listed is an error. A server that keeps checksums of whole objects has the first answer checked.
        """
        at, failures = 0, 0
        while at < listed.size:
            try:
                for piece in self._pieces(listed, at):
                    if at >= listed.size:
                        at += len(piece)
                        break
                    self._meter(len(piece))
                    if at + len(piece) > start:
                        take(piece[max(0, start - at) :])
                    at += len(piece)
                    failures = 0
                if at != listed.size:
                    raise self.faults.fault(
                        FaultCode.FETCH_FAILED,
                        f"An object in {self.faults.where} {'ended early' if at < listed.size else 'did not end'}.",
                        "See the server's log.",
                    )
            except (BotoCoreError, ClientError, TransferFault) as error:
                failures += 1
                if failures >= _TIMES or not isinstance(error, _BROKE_OFF):
                    raise
                self.calls.wait(0.2 * failures)

    def _pieces(self, listed: Listed, at: int) -> Iterator[bytes]:
        self.calls.check()
        whole: dict[str, str] = {"ChecksumMode": "ENABLED"}
        part = {"Range": f"bytes={at}-"} if at else whole
        answer = self._client().get_object(Bucket=self.s3.bucket, Key=listed.key, IfMatch=listed.etag, **part)
        _require_same(answer, listed)
        passed = at - _first_byte(answer, at_most=at)
        with closing(answer["Body"]) as body:  # entered itself it would be the bare stream, and no cut would be seen
            while piece := body.read(min(PIECE, passed or PIECE)):
                self.calls.check()
                if passed:
                    passed -= len(piece)
                else:
                    yield piece

    # --- how ---

    def query(self) -> None:
        """Waits until one more request of a search is within the budget."""
        self.calls.wait(0 if self._queries is None else self._queries.take(1))

    def _meter(self, size: int) -> None:
        self.calls.wait(0 if self._bytes is None else self._bytes.take(size))

    def _ask(self, request: Callable[[Any], Any], doing: str, otherwise: FaultCode, uid: str | None = None) -> Any:
        try:
            return self._run(request)
        except (BotoCoreError, ClientError) as error:
            raise self._fault(error, doing, otherwise, uid) from error

    def _fault(
        self, error: BotoCoreError | ClientError, doing: str, otherwise: FaultCode, uid: str | None
    ) -> TransferFault:
        """Who has rights on some buckets only is refused (403) what is not there: a list tells the two apart."""
        if isinstance(error, ClientError) and status_of(error) == 403:
            try:
                self._run(partial(self._page, 1, {}))
            except ClientError as told:
                if status_of(told) == 404:
                    return self.faults.missing()
            except BotoCoreError:
                pass
        return self.faults.of(error, doing, otherwise, uid)

    def _run(self, request: Callable[[Any], Result]) -> Result:
        def asked() -> Result:
            try:
                return request(self._client())
            except (ValueError, ResponseParserError) as error:  # boto3 believes that a server's numbers are some
                raise UnreadableAnswerError from error

        return self.calls.run(asked)

    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self.s3, self._secrets, 2 * self.width + 2, self.faults)
            return self._connected


def _require_same(answer: Mapping[str, Any], listed: Listed) -> None:
    """There are servers that ignore IfMatch. Raises what one raises that does not."""
    if answer.get("ETag") not in (None, listed.etag):
        changed = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
        raise ClientError(cast(Any, changed), "GetObject")


def _first_byte(answer: Mapping[str, Any], *, at_most: int) -> int:
    """Where in the object the answer begins: there are servers that ignore Range, or take it for a hint.

    Raises UnreadableAnswerError where it begins too late, or does not say.
    """
    told = answer.get("ContentRange")
    if told is None:
        return 0
    found = _RANGE.match(str(told))
    if found is None or int(found[1]) > at_most:
        raise UnreadableAnswerError
    return int(found[1])
