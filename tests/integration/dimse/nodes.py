"""Our node for a peer of the tests, with short time-outs, and a place that takes what it delivers."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from adit.dicom.dimse.contexts import UNCOMPRESSED
from adit.dicom.dimse.node import DimseNode
from adit.dicom.node import Instance
from adit.dicom.payload import MemoryPayload, ReceivedInstance, Spool
from adit.model.assignment import Share
from adit.model.dicom_node import Dimse, Timeouts
from adit.model.outcome import Fault, TransferFault
from tests.peers import ScriptedSCP
from tests.samples import encoded

SHORT = Timeouts(connect_seconds=2, acse_seconds=5, dimse_seconds=5, network_seconds=5)
UNLIMITED = Share(associations=8)


class Peer(Protocol):
    aet: str
    host: str
    dicom_port: int


def node(
    peer: Peer,
    *,
    share: Share = UNLIMITED,
    secrets: Path | None = None,
    spool: Spool | None = None,
    verify_waits: tuple[float, ...] = (0.1, 0.2),
    **dimse: Any,
) -> DimseNode:
    """`dimse` are fields of the Dimse model that differ from the peer's own."""
    address: dict[str, Any] = {"ae_title": peer.aet, "host": peer.host, "port": peer.dicom_port, "timeouts": SHORT}
    return DimseNode("peer", Dimse(**(address | dimse)), share, secrets=secrets, spool=spool, verify_waits=verify_waits)


def ct_scp(holdings: Iterable[Dataset] = (), **more: Any) -> ScriptedSCP:
    """A ScriptedSCP for plain CT only: it starts and negotiates much faster than one for everything."""
    return ScriptedSCP(holdings, **({"accepts": {CTImageStorage: UNCOMPRESSED}} | more))


class Basket:
    """Takes what a fetch delivers; refuses the instances named, or all from the one that asks to stop."""

    def __init__(self, refuse: dict[str, Fault] | None = None) -> None:
        self.content: dict[str, bytes] = {}
        self.instances: list[Instance] = []
        self._refuse = refuse or {}

    def __call__(self, instance: Instance) -> None:
        if instance.sop_instance_uid in self._refuse:
            raise TransferFault(self._refuse[instance.sop_instance_uid])
        with instance.open() as reader:
            self.content[instance.sop_instance_uid] = reader.read()
        self.instances.append(instance)
        instance.close()


def as_instance(dataset: Dataset, content: bytes | None = None) -> ReceivedInstance:
    """The instance as a fetch would hand it over."""
    return ReceivedInstance(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.file_meta.TransferSyntaxUID),
        MemoryPayload(encoded(dataset) if content is None else content),
    )


def contents(datasets: Iterable[Dataset]) -> dict[str, bytes]:
    """Encoded data sets by SOP Instance UID."""
    return {str(item.SOPInstanceUID): encoded(item) for item in datasets}


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()
