"""What a DicomNode's `spec.s3` says: a bucket of DICOM files, and how it is reached. Part of `dicom_node`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints, model_validator

from adit.model.identifiers import BucketName, Endpoint, KeyPrefix, Name, Region
from adit.model.resource import Rule, Strict

CREDENTIAL_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""The keys of a Secret with credentials; the last one only where they are temporary."""


class BucketCredentials(Strict):
    """Whose rights are used.

    The secret holds `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` for temporary
    ones: a projected Secret in a pod, a folder `<secrets>/<secretName>/` on one machine.
    """

    secret_name: Name = Field(description="Where the access key is: a Secret's name.")


class BucketTLS(Strict):
    """TLS towards an endpoint of one's own.

    The secret holds `ca.crt`, and for a client certificate `tls.crt` and `tls.key`, as Kubernetes names them.
    """

    secret_name: Name = Field(description="Where the certificates are: a Secret's name.")


class EncryptionMethod(StrEnum):
    """Who keeps the key by which the server encrypts."""

    AES256 = "AES256"  # the server
    KMS = "KMS"  # its key management service


class Encryption(Strict):
    """Encryption by the server, asked for with each object that is written."""

    method: EncryptionMethod = Field(description="By a key of the server's, or by one of its key management service.")
    key_id: Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[A-Za-z0-9:/_-]+$")] | None = (
        Field(default=None, alias="keyID", description="The key in the key management service; its default if absent.")
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.keyID) || self.method == 'KMS'",
            message="keyID is for the method KMS only",
            field_path=".keyID",
        ),
    )

    @model_validator(mode="after")
    def _key_of_kms(self) -> Encryption:
        if self.key_id is not None and self.method is not EncryptionMethod.KMS:
            raise ValueError(f"keyID is for the method KMS only (method {self.method})")
        return self


class BucketProof(StrEnum):
    """What proves that an object arrived."""

    CHECKSUM = "Checksum"  # the size and checksum that the bucket states; its content, where it states none
    CONTENT = "Content"  # its content, read again


class BucketTimeouts(Strict):
    """How long to wait for a bucket, in seconds. What fails in passing is tried three times."""

    connect_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=10, description="For the TCP connection to be made."
    )
    network_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60,
        description="For an answer to begin, for each 64 KiB of it or its end to come, and for as much to be taken.",
    )


class S3(Strict):
    """A bucket of DICOM files behind the S3 API."""

    bucket: BucketName = Field(description="The bucket's name; it must exist.")
    prefix: KeyPrefix | None = Field(
        default=None,
        description="What the keys begin with, without the slash that follows; all of the bucket if absent.",
    )
    endpoint: Endpoint | None = Field(
        default=None, description="The server's address, such as https://s3.example.org:9000; Amazon's if absent."
    )
    region: Region = Field(default="us-east-1", description="The region that requests are signed for.")
    path_style: bool | None = Field(
        default=None,
        description="Whether the bucket stands in a URL's path, not its host; if absent, where there is an endpoint.",
    )
    credentials: BucketCredentials | None = Field(
        default=None,
        description="Whose rights are used; the identity of the worker's machine or pod, if absent.",
    )
    tls: BucketTLS | None = Field(
        default=None, description="Certificates for an endpoint of one's own; the system's authorities if absent."
    )
    encryption: Encryption | None = Field(
        default=None,
        description="Encryption by the server, asked for with each object; the bucket's default if absent.",
    )
    proof: BucketProof = Field(
        default=BucketProof.CHECKSUM,
        description="What proves an arrival: the bucket's size and checksum, or the content, read again.",
    )
    max_objects: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=20_000, description="As a source: how many objects' headers may be read in one search."
    )
    study_in_key: bool = Field(
        default=False,
        description=(
            "As a source: each key has its object's StudyInstanceUID between slashes, as ADIT writes them; then only "
            "the headers of the study in question are read."
        ),
    )
    timeouts: BucketTimeouts = Field(default=BucketTimeouts(), description="How long to wait for the bucket.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.tls) || !has(self.endpoint) || self.endpoint.startsWith('https://')",
            message="tls needs an endpoint that begins with https://",
            field_path=".tls",
        ),
    )

    @model_validator(mode="after")
    def _tls_over_tls(self) -> S3:
        if self.tls is not None and (self.endpoint or "https://").startswith("http://"):
            raise ValueError("tls needs an endpoint that begins with https://")
        return self

    @property
    def root(self) -> str:
        """What every key begins with: empty, or the prefix and a slash."""
        return f"{self.prefix}/" if self.prefix else ""
