"""A DICOMweb server as a Node: exchanges within the attempt's share. Made by `adit.dicom.opening`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from adit.dicom.allowance import Allowance
from adit.dicom.dicomweb import fetch, find
from adit.dicom.dicomweb.client import Client
from adit.dicom.dicomweb.server import Server
from adit.dicom.dicomweb.store import Batching, Channel
from adit.dicom.dimse.verify import WAITS, verify
from adit.dicom.node import Answer, Deliver, FetchReport, Probe, Proof, Query, StoreChannel, Stored, Wanted
from adit.dicom.payload import Spool
from adit.model.assignment import Share
from adit.model.dicom_web import DicomWeb, WebService
from adit.model.outcome import Fault, FaultCode


class DicomWebNode:
    """Implements `adit.dicom.node.Node`.

    At most `share.associations` connections are in use at a time: a fetch holds one, a query and a store one
    while they last.
    """

    def __init__(
        self,
        name: str,
        web: DicomWeb,
        share: Share,
        *,
        secrets: Path | None = None,
        spool: Spool | None = None,
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.monotonic,
        verify_waits: Sequence[float] = WAITS,
    ) -> None:
        self._server = Server(name, web)
        self._client = Client(self._server, share, secrets=secrets, allowance=allowance, clock=clock)
        self._batching = Batching()
        self._spool = spool
        self._verify_waits = verify_waits

    @property
    def name(self) -> str:
        return self._server.node

    def find(self, query: Query) -> Iterator[Answer]:
        find.require(self._client, query)
        yield from find.find(self._client, query)

    def doubts(self) -> tuple[Fault, ...]:
        return ()

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        return fetch.Fetch(self._client, deliver, self._spool).run(wanted)

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        if WebService.STOW not in self._server.web.services:
            raise self._server.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                "The node offers no STOW-RS",
                "Add STOW-RS to the node's services if it does, or choose another destination.",
            )
        return Channel(self._client, self._batching)

    @property
    def can_verify(self) -> bool:
        return WebService.QIDO in self._server.web.services

    @property
    def verifies_content(self) -> bool:
        return False

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        return verify(
            self._server, self.find, self._client.pause, self._verify_waits, study_instance_uid, stored, lists=False
        )

    def probe(self) -> Probe:
        from adit.dicom.dicomweb.probe import probe

        return probe(self._client)

    def interrupt(self) -> None:
        self._client.interrupt()
