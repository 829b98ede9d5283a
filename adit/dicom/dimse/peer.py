"""Who we speak to: a DIMSE node's name and address, and how its faults are worded.

Every module of this room raises its faults through `Peer.fault`, so that each names the node.
"""

from __future__ import annotations

from dataclasses import dataclass

from adit.model.dicom_node import Dimse
from adit.model.outcome import Fault, FaultCode, TransferFault


@dataclass(frozen=True, slots=True)
class Peer:
    node: str  # the DicomNode's name
    dimse: Dimse

    @property
    def address(self) -> str:
        return f"{self.dimse.host}:{self.dimse.port}"

    def describe(
        self, code: FaultCode, message: str, cure: str, *, instance: str | None = None, status: int | None = None
    ) -> Fault:
        return Fault(code=code, message=message, cure=cure, node=self.node, sop_instance_uid=instance, status=status)

    def fault(
        self, code: FaultCode, message: str, cure: str, *, instance: str | None = None, status: int | None = None
    ) -> TransferFault:
        return TransferFault(self.describe(code, message, cure, instance=instance, status=status))
