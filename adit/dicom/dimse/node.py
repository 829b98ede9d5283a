"""A DIMSE peer as a Node: associations within the attempt's share, each call on one of its own.

Made by `adit.dicom.opening`. Whatever a call does, its association ends with it: released when all went
well, aborted otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adit.dicom.allowance import Allowance
from adit.dicom.dimse import contexts, find, get
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.connection import Interruption, interrupted
from adit.dicom.dimse.mailboxes import Mailboxes
from adit.dicom.dimse.negotiation import Proposal
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.store import Channel
from adit.dicom.dimse.verify import WAITS, verify
from adit.dicom.node import Answer, Deliver, FetchReport, Instance, Probe, Proof, Query, StoreChannel, Stored, Wanted
from adit.dicom.payload import Spool
from adit.dicom.roads import Road, Roads
from adit.model.assignment import Share
from adit.model.dicom_node import Dimse, Service
from adit.model.outcome import Fault, FaultCode

if TYPE_CHECKING:
    import ssl

GET_SERVICES: Final = frozenset({Service.STUDY_ROOT_GET, Service.PATIENT_ROOT_GET})
MOVE_SERVICES: Final = frozenset({Service.STUDY_ROOT_MOVE, Service.PATIENT_ROOT_MOVE})
FETCH_SERVICES: Final = GET_SERVICES | MOVE_SERVICES
_OF_A_ROAD: Final = frozenset(
    {
        FaultCode.SERVICE_NOT_OFFERED,
        FaultCode.PERMISSION_DENIED,
        FaultCode.MOVE_DESTINATION_UNKNOWN,
        FaultCode.FETCH_FAILED,
        FaultCode.OUT_OF_RESOURCES,
        FaultCode.ASSOCIATION_ABORTED,
        FaultCode.NODE_TIMEOUT,
        FaultCode.INCOMPLETE,
        FaultCode.NOTHING_RECEIVED,
    }
)
"""What C-MOVE may mend of C-GET, or the other way round."""
_TICK = 0.05  # seconds in which an interruption is noticed while an association is waited for


class DimseNode:
    """Implements `adit.dicom.node.Node`.

    At most `share.associations` are open at a time: a `find` not read to its end and a store channel
    not closed hold one each. A call that finds none free waits for the node's `acseSeconds`.
    """

    def __init__(
        self,
        name: str,
        dimse: Dimse,
        share: Share,
        *,
        secrets: Path | None = None,
        spool: Spool | None = None,
        mailboxes: Mailboxes | None = None,
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.monotonic,
        verify_waits: Sequence[float] = WAITS,
    ) -> None:
        self._peer = Peer(name, dimse)
        self._secrets = secrets
        self._spool = spool
        self._mailboxes = mailboxes
        self._roads = Roads(self.roads)
        self._verify_waits = verify_waits
        self._interruption = Interruption()
        self._clock = clock
        allowance = allowance or Allowance(share, clock)
        self._room, self._queries, self._bytes = allowance.room, allowance.queries, allowance.bytes

    @property
    def name(self) -> str:
        return self._peer.node

    def find(self, query: Query) -> Iterator[Answer]:
        model, level = find.plan(self._peer, query)
        if self._queries is not None:
            self._pause(self._queries.take(1))
        with self._associated([Proposal(model, contexts.UNCOMPRESSED)]) as association:
            yield from find.find(association, self._peer, query, model, level)

    def doubts(self) -> tuple[Fault, ...]:
        return ()

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        return self._roads.fetch(wanted, deliver)

    @property
    def roads(self) -> list[Road]:
        """Those that the services name, the best first; C-GET if they name none: it tells what is missing."""
        services = self._peer.dimse.services
        by_get, by_move = Road("C-GET", self._by_get, _OF_A_ROAD), Road("C-MOVE", self._by_move, _OF_A_ROAD)
        if MOVE_SERVICES.isdisjoint(services):
            return [by_get]
        return [by_move] if GET_SERVICES.isdisjoint(services) else [by_get, by_move]

    def roads_met(self) -> Mapping[str, FaultCode | None]:
        return self._roads.met

    def try_last(self, roads: Collection[str]) -> None:
        self._roads.try_last(roads)

    def _by_get(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        model = get.plan(self._peer, wanted)
        came: set[str] = set()

        def note(instance: Instance) -> None:
            came.add(instance.sop_instance_uid)
            deliver(instance)

        rounds: list[FetchReport] = []
        for proposals in contexts.rounds_for_get(model, wanted.sop_class_uids):
            with self._associated(proposals) as association:
                fetch = get.Fetch(association, self._peer, note, self._spool, lambda: self._pause(0))
                rounds.append(fetch.run(wanted, model))
            if wanted.sop_instance_uids is None:
                break  # without names it cannot be asked for the rest alone
            left = tuple(uid for uid in wanted.sop_instance_uids if uid not in came)
            if not left:
                break
            wanted = replace(wanted, sop_instance_uids=left)
        return get.outcome_of(rounds)

    def _by_move(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        from adit.dicom.dimse import move  # with the relay, which most transfers do without

        model = move.plan(self._peer, wanted)
        if self._mailboxes is None:
            raise self._peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                "The node is to be asked by C-MOVE, and no receiver can reach us",
                "Set ADIT_RELAY_HOST to our own address, and run a receiver.",
            )
        intake = move.Intake(deliver)
        meter = self._meter if self._bytes is not None else None
        with (
            move.registered(self._mailboxes, intake, wanted, self._peer, self._spool, meter, self._pause) as box,
            self._associated([Proposal(model, contexts.UNCOMPRESSED)]) as association,
        ):
            return move.Move(association, self._peer, box, intake, lambda: self._pause(0)).run(wanted, model)

    def move_to(self, wanted: Wanted, ae_title: str, arriving: Callable[[], bool]) -> FetchReport:
        from adit.dicom.dimse import direct_move, move  # for few jobs only

        model = move.plan(self._peer, wanted)
        with self._associated([Proposal(model, contexts.UNCOMPRESSED)]) as association:
            mover = direct_move.DirectMove(association, self._peer, ae_title, lambda: self._pause(0), arriving)
            return mover.run(wanted, model)

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        if Service.STORAGE not in self._peer.dimse.services:
            raise self._peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                "The node offers no storage",
                "Add Storage to the node's services if it does, or choose another destination.",
            )
        return Channel(self._peer, self._associate, sop_class_uids, self._spool)

    @property
    def can_verify(self) -> bool:
        # Patient root alone would need the PatientID that the destination knows the study by.
        return Service.STUDY_ROOT_FIND in self._peer.dimse.services

    @property
    def verifies_content(self) -> bool:
        return False

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        return verify(self._peer, self.find, self._pause, self._verify_waits, study_instance_uid, stored, lists=True)

    def probe(self) -> Probe:
        from adit.dicom.dimse.probe import probe

        return probe(self._peer, self._associated)

    def interrupt(self) -> None:
        self._interruption.set()

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        if self._peer.dimse.tls is None:
            return None
        from adit.dicom.dimse.tls import client_context

        return client_context(self._peer, self._secrets)

    def _pause(self, seconds: float) -> None:
        if self._interruption.is_set() or (seconds > 0 and self._interruption.sleep(seconds)):
            raise interrupted(self._peer)

    def _meter(self, count: int) -> None:
        if self._bytes is not None:
            self._pause(self._bytes.take(count))

    @contextmanager
    def _associated(self, proposals: Sequence[Proposal]) -> Iterator[Association]:
        association = self._associate(proposals)
        try:
            yield association
        except BaseException:  # also GeneratorExit: a find that its caller left early
            association.abort()
            raise
        association.release()

    def _associate(self, proposals: Sequence[Proposal]) -> Association:
        self._wait_for_room()
        try:
            return Association.request(
                self._peer,
                proposals,
                self._interruption,
                self._tls,
                self._meter if self._bytes is not None else None,
                self._room.release,
            )
        except BaseException:
            self._room.release()
            raise

    def _wait_for_room(self) -> None:
        give_up = self._clock() + self._peer.dimse.timeouts.acse_seconds
        self._pause(0)
        while not self._room.acquire(timeout=_TICK):
            self._pause(0)
            if self._clock() >= give_up:
                raise self._peer.fault(
                    FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
                    "No association of this attempt's share came free",
                    "Raise limits.associations of the node if it happens often.",
                )
