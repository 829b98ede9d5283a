"""One peer with a DIMSE and a DICOMweb face as one Node. Made by `adit.dicom.opening`.

It is asked by C-FIND before QIDO-RS: an answer of C-FIND ends with a status, while servers cut QIDO-RS in ways of
their own. It is fetched from by WADO-RS before C-GET and C-MOVE: nothing is to be negotiated, and it is the faster. It
is stored at by C-STORE before STOW-RS: measured not slower, and each instance has an answer of its own. What one face
fails at the other is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from adit.dicom.dicomweb.node import DicomWebNode
from adit.dicom.dimse.connection import Interruption, interrupted
from adit.dicom.dimse.node import FETCH_SERVICES, DimseNode
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.verify import WAITS, verify
from adit.dicom.levels import UNIQUE_KEY
from adit.dicom.node import Answer, Deliver, FetchReport, Node, Probe, Proof, Query, StoreChannel, Stored, Wanted
from adit.dicom.roads import Road, Roads, worth_telling
from adit.dicom.two_faced.channel import Channel, Way, Ways
from adit.model.dicom_node import Dimse, Service
from adit.model.dicom_web import DicomWeb, WebService
from adit.model.outcome import Fault, FaultCode, TransferFault

OF_A_FACE: Final = frozenset(
    {
        FaultCode.NODE_UNREACHABLE,
        FaultCode.NODE_TIMEOUT,
        FaultCode.ASSOCIATION_REJECTED,
        FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
        FaultCode.ASSOCIATION_ABORTED,
        FaultCode.SERVICE_NOT_OFFERED,
        FaultCode.PERMISSION_DENIED,
        FaultCode.TLS_FAILED,
        FaultCode.SECRET_MISSING,
        FaultCode.OUT_OF_RESOURCES,
    }
)
"""What one face may fail at while the other works. Busy, too: a gateway says 503 where nothing is behind it."""
_OF_A_QUERY: Final = OF_A_FACE | {FaultCode.QUERY_FAILED}
_OF_A_FETCH: Final = OF_A_FACE | {
    FaultCode.FETCH_FAILED,
    FaultCode.INCOMPLETE,
    FaultCode.NOTHING_RECEIVED,
    FaultCode.INSTANCE_UNREADABLE,
    FaultCode.SOP_CLASS_REFUSED,
    FaultCode.TRANSFER_SYNTAX_REFUSED,
}
_FINDS: Final = frozenset({Service.STUDY_ROOT_FIND, Service.PATIENT_ROOT_FIND})


class TwoFacedNode:
    """Implements `adit.dicom.node.Node`. Both faces keep to one allowance, the attempt's share of the node."""

    def __init__(
        self,
        name: str,
        faces: tuple[Dimse, DicomWeb],
        dimse: DimseNode,
        web: DicomWebNode,
        *,
        verify_waits: Sequence[float] = WAITS,
    ) -> None:
        of_dimse, of_web = faces[0].services, faces[1].services
        self._peer = Peer(name, faces[0])
        self._faces: tuple[Node, Node] = (dimse, web)
        self._dimse = dimse
        self._verify_waits = verify_waits
        self._interruption = Interruption()
        self._provable = Service.STUDY_ROOT_FIND in of_dimse or WebService.QIDO in of_web
        self._finders = _finders(dimse, web, of_dimse, of_web)
        self._roads = _roads(dimse, web, of_dimse, of_web)
        self._ways = Ways(_ways(dimse, web, of_dimse, of_web))

    @property
    def name(self) -> str:
        return self._peer.node

    def find(self, query: Query) -> Iterator[Answer]:
        """Where a face fails amid its answers the other is asked from the beginning; none comes twice."""
        # A study may stand under two patients, and that must show; what was not asked for only one face may tell.
        asked = {*query.keys, *query.returning} & {"PatientID"}
        identity = (UNIQUE_KEY[query.level], *asked)
        met: list[Fault] = []
        seen: set[tuple[str, ...]] = set()
        for face in list(self._finders):
            try:
                for answer in face.find(query):
                    values = tuple(str(answer.get(keyword) or "") for keyword in identity)
                    if values not in seen:
                        seen.add(values)
                        yield answer
                return
            except TransferFault as error:
                if error.fault.code not in _OF_A_QUERY:
                    raise
                met.append(error.fault)
                self._finders = [*(each for each in self._finders if each is not face), face]
        raise TransferFault(worth_telling(met) if met else self._offers_no("query"))

    def doubts(self) -> tuple[Fault, ...]:
        return ()

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        if self._roads is None:
            raise TransferFault(self._offers_no("fetch"))
        return self._roads.fetch(wanted, deliver)

    def move_to(self, wanted: Wanted, ae_title: str, arriving: Callable[[], bool]) -> FetchReport:
        return self._dimse.move_to(wanted, ae_title, arriving)

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        if not self._ways.in_order():
            raise TransferFault(self._offers_no("storage"))
        return Channel(self._ways, sop_class_uids)

    @property
    def can_verify(self) -> bool:
        return self._provable

    @property
    def verifies_content(self) -> bool:
        return False

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        lists = self._finders[:1] == [self._dimse]  # QIDO-RS is asked for each name of a list alone
        return verify(self._peer, self.find, self._pause, self._verify_waits, study_instance_uid, stored, lists=lists)

    def probe(self) -> Probe:
        """Of both faces. One that does not answer is a fault, though the node may be of use."""
        found = [face.probe() for face in self._faces]
        detail: dict[str, str] = {}
        for kind, each in zip(("DIMSE", "DICOMweb"), found, strict=True):
            detail |= {f"{kind} {name}" if name in detail else name: value for name, value in each.detail.items()}
        return Probe(
            reachable=any(each.reachable for each in found),
            services=tuple(service for each in found for service in each.services),
            detail=detail,
            fault=next((each.fault for each in found if each.fault is not None), None),
        )

    def roads_met(self) -> Mapping[str, FaultCode | None]:
        return {**({} if self._roads is None else self._roads.met), **self._ways.met}

    def try_last(self, roads: Collection[str]) -> None:
        if self._roads is not None:
            self._roads.try_last(roads)
        self._ways.try_last(roads)

    def interrupt(self) -> None:
        self._interruption.set()
        for face in self._faces:
            face.interrupt()

    def _pause(self, seconds: float) -> None:
        if self._interruption.is_set() or (seconds > 0 and self._interruption.sleep(seconds)):
            raise interrupted(self._peer)

    def _offers_no(self, what: str) -> Fault:
        return self._peer.describe(
            FaultCode.SERVICE_NOT_OFFERED,
            f"The node offers no {what}, neither by DIMSE nor by DICOMweb",
            "Add what it offers to its dimse.services or dicomWeb.services.",
        )


def _finders(
    dimse: DimseNode, web: DicomWebNode, of_dimse: Collection[Service], of_web: Collection[WebService]
) -> list[Node]:
    """Patient root alone needs a PatientID with each question: then QIDO-RS is the better."""
    finders: list[Node] = []
    if not _FINDS.isdisjoint(of_dimse):
        finders.append(dimse)
    if WebService.QIDO in of_web:
        finders.insert(len(finders) if Service.STUDY_ROOT_FIND in of_dimse else 0, web)
    return finders


def _roads(
    dimse: DimseNode, web: DicomWebNode, of_dimse: Collection[Service], of_web: Collection[WebService]
) -> Roads | None:
    roads: list[Road] = []
    if WebService.WADO in of_web:
        roads.append(Road("WADO-RS", web.fetch, _OF_A_FETCH))
    if not FETCH_SERVICES.isdisjoint(of_dimse):
        roads += [replace(road, mendable=road.mendable | _OF_A_FETCH) for road in dimse.roads]
    return Roads(roads) if roads else None


def _ways(
    dimse: DimseNode, web: DicomWebNode, of_dimse: Collection[Service], of_web: Collection[WebService]
) -> list[Way]:
    ways: list[Way] = []
    if Service.STORAGE in of_dimse:
        ways.append(Way("C-STORE", dimse.open_store))
    if WebService.STOW in of_web:
        ways.append(Way("STOW-RS", web.open_store))
    return ways
