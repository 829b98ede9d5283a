"""What is to be known of a DICOMweb server (PS3.18): the `dicomWeb` part of a DicomNode."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator, model_validator

from adit.model.identifiers import HeaderName, Name, UrlPrefix, WebUrl
from adit.model.resource import SET, Rule, Strict, once_each
from adit.model.tls import TLS


class WebService(StrEnum):
    """What a DICOMweb server offers, by the names that people know its transactions by."""

    QIDO = "QIDO-RS"
    WADO = "WADO-RS"
    STOW = "STOW-RS"


class Scheme(StrEnum):
    """How we say who we are."""

    BASIC = "Basic"  # RFC 7617
    BEARER = "Bearer"  # RFC 6750
    HEADER = "Header"  # a header of the server's own, such as X-Api-Key


KEYS_OF_SCHEME: Final[dict[Scheme, tuple[str, ...]]] = {
    Scheme.BASIC: ("username", "password"),
    Scheme.BEARER: ("token",),
    Scheme.HEADER: ("value",),
}
"""The keys of the Secret; those of Basic are Kubernetes' own (type kubernetes.io/basic-auth)."""


class Credentials(Strict):
    """Who we are to the server. The secret is read anew for each request, so that a renewed token counts at once."""

    secret_name: Name = Field(
        description="Where they are: a Secret's name. Its keys are username and password for Basic, token for Bearer, "
        "value for Header."
    )
    scheme: Scheme = Field(description="How they are sent.")
    header_name: HeaderName | None = Field(default=None, description="With Header: the header that bears the value.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.headerName) == (self.scheme == 'Header')",
            message="headerName must be given with scheme Header, and only then",
        ),
    )

    @model_validator(mode="after")
    def _header_is_named(self) -> Credentials:
        if (self.header_name is not None) != (self.scheme is Scheme.HEADER):
            raise ValueError("headerName must be given with scheme Header, and only then")
        return self


class Prefixes(Strict):
    """Where a service's resources begin below the base URL, for servers that keep them apart."""

    qido: UrlPrefix | None = Field(default=None, description="Of QIDO-RS.")
    wado: UrlPrefix | None = Field(default=None, description="Of WADO-RS.")
    stow: UrlPrefix | None = Field(default=None, description="Of STOW-RS.")


class WebTimeouts(Strict):
    """How long to wait for a DICOMweb server, in seconds."""

    connect_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=10, description="For the TCP and the TLS connection to be made."
    )
    answer_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=120, description="For the answer to begin, once a request has been sent."
    )
    network_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=120, description="For each 64 KiB of an answer to come, or its end; for each 256 KiB to be taken."
    )
    busy_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=60,
        description="For a server that is busy (429 or 503, Retry-After): how long one call waits in all before it "
        "gives up; then the node's other road is taken, if it has one, or the task is tried again later.",
    )


class DicomWeb(Strict):
    """A server that speaks DICOMweb (PS3.18)."""

    url: WebUrl = Field(description="The base URL, such as https://pacs.example.org/dicom-web; studies is below it.")
    prefixes: Prefixes = Field(default=Prefixes(), description="What is put between the base URL and a resource.")
    services: Annotated[tuple[WebService, ...], Field(min_length=1, max_length=3, json_schema_extra=SET)] = Field(
        default=tuple(WebService),
        description="What the server offers. At a destination without QIDO-RS no arrival can be proven: a warning at "
        "best.",
    )
    credentials: Credentials | None = Field(default=None, description="Who we are to the server; nobody if absent.")
    tls: TLS | None = Field(
        default=None,
        description="Certificates for https; without it, or without ca.crt in its secret, the system's authorities "
        "are trusted.",
    )
    timeouts: WebTimeouts = Field(default=WebTimeouts(), description="How long to wait for the server.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.tls) || self.url.startsWith('https:')",
            message="tls needs a url that begins with https:",
            field_path=".tls",
        ),
    )

    @field_validator("services")
    @classmethod
    def _each_once(cls, value: tuple[WebService, ...]) -> tuple[WebService, ...]:
        return once_each(value)

    @model_validator(mode="after")
    def _tls_is_used(self) -> DicomWeb:
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("tls needs a url that begins with https:")
        return self
