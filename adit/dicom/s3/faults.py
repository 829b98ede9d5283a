"""What the errors of boto3 and of an S3 server mean to a transfer. Used by everything in this package.

By exception classes, status and error codes, never by texts. Messages name the node, its bucket and the instance;
never a key, which may hold a patient's id in a bucket that others fill.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from botocore import exceptions as boto

from adit.dicom.folder.faults import Doubt
from adit.dicom.tls_failure import tls_failure
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.s3 import S3

_BUSY: Final = {
    *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
    *("TooManyRequests", "RequestThrottled", "BandwidthLimitExceeded", "503", "429"),
}
_NO_BUCKET: Final = {"NoSuchBucket"}
_ELSEWHERE: Final = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_EXPIRED: Final = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN: Final = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthFailure"}
_FULL: Final = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "507"}
_CHANGED: Final = {"PreconditionFailed", "412"}
_GONE: Final = {"NoSuchKey", "NoSuchVersion", "404"}
_TOO_BIG: Final = {"EntityTooLarge", "413"}
_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_LOG: Final = "See the server's log."
_NETWORK: Final = "If it happens each time, look into the server's log and the network between."
_RIGHTS: Final = (
    "Give the access key (or the worker's identity) the rights that docs/dicomnode.md lists, then start again."
)


class UnreadableAnswerError(boto.BotoCoreError):  # type: ignore[misc]  # boto3 has no types
    """What a server answered is none of S3's answers."""

    fmt = "the answer cannot be read"


def code_of(error: boto.ClientError) -> str:
    """The server's own error code; of an answer without a body the HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else str(status_of(error))


def status_of(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class S3Faults:
    """Makes the faults of one bucket."""

    def __init__(self, node: str, s3: S3) -> None:
        self.node = node
        self._s3 = s3

    @property
    def where(self) -> str:
        return f"the bucket {self._s3.bucket}"

    def of(self, error: Exception, doing: str, otherwise: FaultCode, uid: str | None = None) -> TransferFault:
        """`doing` such as "write an instance to"; `otherwise` is the code of a failure that may pass.

        Only what is about the instance itself names it. Raises the error again if it is a bug of ours.
        """
        if isinstance(error, TransferFault):
            return error
        if isinstance(error, boto.ClientError):
            return self._of_answer(error, doing, otherwise, uid)
        what = f"Could not {doing} {self.where}"
        if isinstance(error, UnreadableAnswerError):
            cure = "See that s3.endpoint leads to an S3 server, and no proxy answers in its place."
            return self.fault(otherwise, f"{what}: the server's answer is none of S3.", cure)
        if isinstance(error, boto.SSLError):
            return self._of_tls(error, what)
        if isinstance(error, boto.ReadTimeoutError):
            cure = "Raise timeouts.networkSeconds, or see why the server is slow."
            return self.fault(FaultCode.NODE_TIMEOUT, f"{what}: no answer in time.", cure)
        if isinstance(error, (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)):
            cure = "Check endpoint, region, name server and firewall."
            return self.fault(FaultCode.NODE_UNREACHABLE, f"{what}: no connection to the server.", cure)
        if isinstance(error, (boto.ChecksumError, boto.FlexibleChecksumError)):
            return self.fault(otherwise, f"{what}: what came does not match its checksum.", _NETWORK, uid)
        if isinstance(error, (boto.HTTPClientError, boto.IncompleteReadError)):
            return self.fault(FaultCode.ASSOCIATION_ABORTED, f"{what}: the connection broke.", _NETWORK)
        if isinstance(
            error,
            (
                boto.NoCredentialsError,
                boto.PartialCredentialsError,
                boto.CredentialRetrievalError,
                boto.NoAuthTokenError,
            ),
        ):
            return self.fault(
                FaultCode.SECRET_MISSING,
                f"{what}: there are no credentials, neither a Secret's nor an identity of this machine or pod.",
                "Name a Secret in s3.credentials.secretName, or give the worker an identity.",
            )
        raise error

    def _of_answer(self, error: boto.ClientError, doing: str, otherwise: FaultCode, uid: str | None) -> TransferFault:
        code, status = code_of(error), status_of(error)
        told = {code, str(status)}
        message = f"Could not {doing} {self.where}: {code} ({status})."
        if told & _BUSY:
            return self.fault(FaultCode.OUT_OF_RESOURCES, message, "Lower the node's limits.")
        if code in _NO_BUCKET:
            return self.missing()
        if told & _ELSEWHERE:
            return self.fault(FaultCode.FOLDER_MISSING, message, "The bucket is in another region: correct s3.region.")
        if code in _EXPIRED:
            return self.fault(FaultCode.PERMISSION_DENIED, message, "The credentials have expired: renew the Secret.")
        if code in _UNKNOWN:
            cure = "Check access key and secret key in the Secret that s3.credentials names."
            return self.fault(FaultCode.PERMISSION_DENIED, message, cure)
        if code == "RequestTimeTooSkewed":
            return self.fault(
                FaultCode.PERMISSION_DENIED, message, "Set the clocks of this machine and the server right."
            )
        if code == "InvalidObjectState":
            cure = "The object is archived: restore it there."
            return self.fault(FaultCode.INSTANCE_UNREADABLE, message, cure, uid)
        if status in (401, 403):
            return self.fault(FaultCode.PERMISSION_DENIED, message, _RIGHTS)
        if told & _FULL:
            return self.fault(FaultCode.DISK_FULL, message, "Make room there, or raise the quota.")
        if code in ("RequestTimeout", "408"):
            return self.fault(FaultCode.NODE_TIMEOUT, message, _LOG)
        if told & _CHANGED or told & _GONE:
            cure = "Let nobody change or delete objects during a transfer."
            return self.fault(otherwise, message, cure, uid)
        if status == 409:
            return self.fault(otherwise, message, "Another writes the same object.", uid)
        if told & _TOO_BIG and uid is not None:
            return self.fault(
                FaultCode.INSTANCE_REFUSED, message, "Raise the server's limit for an object's size.", uid
            )
        if code in ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"):
            return self.fault(otherwise, message, "The bytes were changed on their way.", uid)
        if status >= 500 and status != 501:
            return self.fault(otherwise, message, _LOG)
        cure = "See the server's log; check the fields of s3, and whether the server can do what they ask for."
        return self.fault(FaultCode.SERVICE_NOT_OFFERED, message, cure)

    def _of_tls(self, error: Exception, what: str) -> TransferFault:
        """A connection that only broke may be tried again; a handshake that failed fails again."""
        chain = _chain(error)
        if any(isinstance(each, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)) for each in chain):
            return self.fault(FaultCode.ASSOCIATION_ABORTED, f"{what}: the connection broke.", _NETWORK)
        cause = next((each for each in chain if isinstance(each, ssl.SSLError)), None)
        if cause is None:
            return self.fault(
                FaultCode.TLS_FAILED,
                f"{what}: the TLS handshake failed.",
                "Check the endpoint's name and certificate; an authority of your own belongs into s3.tls.",
            )
        name = urlsplit(self._s3.endpoint or "").hostname or "that it is called by"
        failure = tls_failure(cause, name, field="s3.endpoint")
        return self.fault(FaultCode.TLS_FAILED, f"{what}: the server {failure.what}.", failure.cure)

    def missing(self) -> TransferFault:
        cure = "Correct s3.bucket, or create it: a node's own bucket is never created by ADIT."
        return self.fault(FaultCode.FOLDER_MISSING, f"There is no bucket {self._s3.bucket}.", cure)

    def interrupted(self) -> TransferFault:
        return self.fault(
            FaultCode.INTERRUPTED, "The work on this bucket was interrupted.", "Nothing: what was done is kept."
        )

    def of_doubts(self, doubts: Mapping[Doubt, int]) -> tuple[Fault, ...]:
        """What a search could not judge: a fault for what may not be read, else a warning."""
        told = []
        if denied := doubts.get(Doubt.DENIED, 0):
            message = f"{denied} objects of {self.where} may not be read or are archived; they may be of this study."
            told.append(self.fault(FaultCode.PERMISSION_DENIED, message, _RIGHTS).fault)
        if damaged := doubts.get(Doubt.DAMAGED, 0):
            message = (
                f"{damaged} objects of {self.where} look like DICOM but cannot be read; they may be of this study."
            )
            cure = "Replace them by whole copies, or move what does not belong there away."
            told.append(self.fault(FaultCode.FETCHED_WITH_WARNING, message, cure).fault)
        return tuple(told)

    def fault(self, code: FaultCode, message: str, cure: str, uid: str | None = None) -> TransferFault:
        return TransferFault(Fault(code=code, message=message, cure=cure, node=self.node, sop_instance_uid=uid))


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what it was made from: boto3 and urllib3 wrap the one of `ssl` several times."""
    found: list[BaseException] = []
    left = [error]
    while left:
        each = left.pop()
        if each is None or each in found:
            continue
        found.append(each)
        arguments = [one for one in each.args if isinstance(one, BaseException)]
        kept = getattr(each, "kwargs", {}).get("error")
        left += [each.__cause__, each.__context__, *arguments, kept if isinstance(kept, BaseException) else None]
    return found
