"""Who we speak to: a DICOMweb node's name and resources, and how its faults are worded.

Every module of this room raises its faults through `Server.fault`. A fault names the node and never a URL: paths
hold UIDs and queries may hold patients' ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlsplit

from adit.model.dicom_web import DicomWeb, WebService
from adit.model.outcome import Fault, FaultCode, TransferFault


@dataclass(frozen=True)
class Server:
    node: str  # the DicomNode's name
    web: DicomWeb

    @cached_property
    def is_https(self) -> bool:
        return self.web.url.startswith("https:")

    @cached_property
    def host(self) -> str:
        return urlsplit(self.web.url).hostname or ""

    @cached_property
    def port(self) -> int:
        return urlsplit(self.web.url).port or (443 if self.is_https else 80)

    @property
    def address(self) -> str:
        """For messages."""
        return f"{self.host}:{self.port}"

    def path(self, service: WebService, *segments: str) -> str:
        """The path of a resource; the segments are encoded, whatever is in them."""
        prefixes = self.web.prefixes
        prefix = {WebService.QIDO: prefixes.qido, WebService.WADO: prefixes.wado, WebService.STOW: prefixes.stow}
        base = urlsplit(self.web.url).path.rstrip("/")
        parts = [part for part in (prefix[service],) if part]
        return "/".join((base, *parts, *(quote(segment, safe="") for segment in segments)))

    def describe(
        self, code: FaultCode, message: str, cure: str, *, instance: str | None = None, status: int | None = None
    ) -> Fault:
        return Fault(code=code, message=message, cure=cure, node=self.node, sop_instance_uid=instance, status=status)

    def fault(
        self, code: FaultCode, message: str, cure: str, *, instance: str | None = None, status: int | None = None
    ) -> TransferFault:
        return TransferFault(self.describe(code, message, cure, instance=instance, status=status))
