"""C-MOVE as SCU: the peer is asked to send to the receiver, and what the receiver relays to our mailbox is handed over.

Called by `roads`. The mailbox is registered before the request is sent, so that no object can come too early. The
peer's last word is read, but it is not the end: some say success before they have sent anything. What was expected
decides, or silence.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from adit.dicom.dimse import identifier
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.cancel import call_off
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.get import combined, failed_uids, requests, total
from adit.dicom.dimse.mailboxes import Mailboxes
from adit.dicom.dimse.negotiation import Context
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import OUT_OF_RESOURCES, PENDING, SUCCESS, fetch_faults, is_warning
from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.dicom.payload import ReceivedInstance, Spool
from adit.dicom.relay.listener import RelayListener
from adit.model.dicom_node import Service
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "C-MOVE"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.2"
_TICK: Final = 0.2  # seconds in which an order to stop is noticed
_TURN: Final = 1.0  # seconds before it is asked again whether it is our turn
_BROUGHT_NOTHING: Final = {FaultCode.FETCH_FAILED, FaultCode.NOTHING_RECEIVED, FaultCode.OUT_OF_RESOURCES}


def plan(peer: Peer, wanted: Wanted) -> str:
    """The information model to use. Raises SERVICE_NOT_OFFERED."""
    if Service.STUDY_ROOT_MOVE in peer.dimse.services:
        return STUDY_ROOT
    if Service.PATIENT_ROOT_MOVE in peer.dimse.services and wanted.patient_id:
        return PATIENT_ROOT
    raise peer.fault(
        FaultCode.SERVICE_NOT_OFFERED,
        "The node offers C-MOVE by patient root only, and the PatientID is not known"
        if Service.PATIENT_ROOT_MOVE in peer.dimse.services
        else "The node offers no C-MOVE",
        "Add StudyRootMove to the node's services if it offers it, or give the patientID with the study.",
    )


@dataclass(slots=True)
class Registered:
    """A mailbox that receivers can find."""

    listener: RelayListener
    message_id: int
    under_way: bool = False  # the peer was asked to send, and has not said that it ended


class Intake:
    """Takes what the mailbox gets; remembers what came, and why nothing more may."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self.delivered = 0
        self.stop: TransferFault | None = None
        self.bug: Exception | None = None

    def take(self, instance: ReceivedInstance) -> int:
        """The DIMSE status for the instance's sender. Owns the instance."""
        if self.stop is not None or self.bug is not None:
            instance.close()
            return OUT_OF_RESOURCES
        with self._lock:
            self._seen.add(instance.sop_instance_uid)
        try:
            self._deliver(instance)
        except TransferFault as refusal:
            instance.close()
            if refusal.fault.sop_instance_uid is None:
                self.stop = refusal
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - raised again where the fetch is waited for
            self.bug = error
            return OUT_OF_RESOURCES
        with self._lock:
            self.delivered += 1
        return SUCCESS

    def missing(self, expected: frozenset[str]) -> int:
        with self._lock:
            return len(expected - self._seen)


@contextmanager
def registered(
    mailboxes: Mailboxes,
    intake: Intake,
    wanted: Wanted,
    peer: Peer,
    spool: Spool | None,
    meter: Callable[[int], None] | None,
    pause: Callable[[float], None],
) -> Iterator[Registered]:
    """A mailbox while the block runs; waits for its turn where another task moves the same study."""
    try:
        listener = RelayListener(mailboxes.host, intake.take, spool, meter, port=mailboxes.port)
    except OSError as error:
        raise peer.fault(
            FaultCode.IO_FAILED,
            f"The worker cannot listen on {mailboxes.host} for what the node sends ({error.strerror})",
            "Set ADIT_RELAY_HOST to an address of the worker's own, and ADIT_RELAY_PORT to a free port or to none.",
        ) from error
    try:
        # Of the whole study, whatever is asked for of it: some send all of it for one series, and what is refused here
        # is accounted for; what finds no mailbox would make the fetch a failure for ever.
        while (message_id := mailboxes.open(listener.mailbox, wanted.study_instance_uid)) is None:
            pause(_TURN)
        box = Registered(listener, message_id)
        try:
            yield box
        finally:
            mailboxes.close(listener.mailbox.id, broke_off=box.under_way)
    finally:
        listener.close()


class Move:
    """One fetch in progress, by one C-MOVE, or by one for each hundred named instances.

    `check` raises when the node was interrupted.
    """

    def __init__(
        self, association: Association, peer: Peer, box: Registered, intake: Intake, check: Callable[[], None]
    ) -> None:
        self._association = association
        self._peer = peer
        self._box = box
        self._intake = intake
        self._check = check

    def run(self, wanted: Wanted, model: str) -> FetchReport:
        """Raises TransferFault when the source gives no final word, or `deliver` asks to stop."""
        accepted = self._association.accepted.values()
        context = next((each for each in accepted if each.abstract_syntax == model), None)
        if context is None:
            raise self._peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"The peer does not accept C-MOVE by {'study' if model == STUDY_ROOT else 'patient'} root",
                "See `adit node probe` for what it offers, and correct the node's services.",
            )
        self._association.spare()
        reports = []
        for keys in requests(wanted, by_patient=model == PATIENT_ROOT):
            named = keys.get("SOPInstanceUID")
            expected = wanted.expected if named is None else frozenset(named.split("\\"))
            reports.append(self._request(context, keys, expected, wanted.heard))
        return combined(reports)

    def _request(
        self, context: Context, keys: dict[str, str], expected: frozenset[str], heard: Callable[[int], None]
    ) -> FetchReport:
        before = self._intake.delivered
        self._box.under_way = True
        self._association.send(
            context,
            Command(
                field=CommandField.C_MOVE_RQ,
                has_data_set=True,
                sop_class_uid=context.abstract_syntax,
                message_id=self._box.message_id,
                priority=0,
                move_destination=self._peer.dimse.receiver_ae_title,
            ),
            identifier.encode(keys, context.transfer_syntax),
        )
        try:
            last, failed, announced = self._final_word(expected, before, heard)
        except BaseException:
            self._box.under_way = not call_off(self._association, context, self._box.message_id)
            raise
        if last is None:
            self._box.under_way = False
            return self._unsaid(self._intake.delivered - before)
        if last.status == SUCCESS or is_warning(last.status or 0):
            self._await_late(last, before, expected)
        self._await_under_way()
        self._raise_if_told()
        self._box.under_way = False
        return self._report(last, failed, self._intake.delivered - before, announced)

    def _final_word(
        self, expected: frozenset[str], before: int, heard: Callable[[int], None]
    ) -> tuple[Command | None, tuple[str, ...], int]:
        """The final response, its failed UIDs, the most sub-operations spoken of; no response if all came without one.

        The peer may take its DIMSE time-out for each response, or for each object: some send no response but the last.
        """
        announced, said_at = 0, time.monotonic()
        while True:
            self._raise_if_told()
            if self._association.wait(_TICK):
                context, command = self._association.receive()
                if command.field != CommandField.C_MOVE_RSP or command.status is None:
                    raise self._peer.fault(
                        FaultCode.FETCH_FAILED,
                        f"The peer answered C-MOVE with a message of type 0x{command.field:04X}",
                        "The peer breaks PS3.7 9.1.4; report it to its vendor.",
                    )
                encoded = self._association.receive_identifier() if command.has_data_set else b""
                announced, said_at = max(announced, total(command)), time.monotonic()
                heard(announced)
                if command.status not in PENDING:
                    return command, failed_uids(encoded, context), announced
            elif min(time.monotonic() - said_at, self._box.listener.traffic.quiet_for) > self._patience:
                if expected and not self._intake.missing(expected) and announced <= self._intake.delivered - before:
                    return None, (), announced
                raise self._peer.fault(
                    FaultCode.NODE_TIMEOUT,
                    f"{self._peer.address} neither answered C-MOVE nor sent anything for {self._patience:g} s",
                    "See whether the node is overloaded; raise timeouts.dimseSeconds if it is only slow.",
                )

    @property
    def _patience(self) -> float:
        return self._peer.dimse.timeouts.dimse_seconds

    def _await_late(self, last: Command, before: int, expected: frozenset[str]) -> None:
        """For what the peer called sent and has not come; until nothing has moved for the node's idle time-out."""
        traffic = self._box.listener.traffic
        said = None if last.completed is None else last.completed + (last.warning or 0)
        began = time.monotonic()
        while True:
            self._raise_if_told()
            lacking = said is not None and self._intake.delivered - before < said
            if expected:
                lacking = lacking or self._intake.missing(expected) > (last.failed or 0)
            else:
                lacking = lacking or not said  # nothing to go by but silence
            if (
                not lacking
                or min(time.monotonic() - began, traffic.quiet_for) >= self._peer.dimse.timeouts.idle_seconds
            ):
                return
            traffic.wait(_TICK)

    def _await_under_way(self) -> None:
        """For what is being taken over just now; the relay's own time-outs bound it."""
        traffic = self._box.listener.traffic
        while traffic.quiet_for == 0.0:
            self._raise_if_told()
            traffic.wait(_TICK)

    def _raise_if_told(self) -> None:
        self._check()
        if self._intake.bug is not None:
            raise self._intake.bug
        if self._intake.stop is not None:
            raise self._intake.stop
        failure = self._box.listener.failure
        if failure is not None:
            raise self._peer.fault(
                FaultCode.DISK_FULL if failure.errno in (errno.ENOSPC, errno.EDQUOT) else FaultCode.IO_FAILED,
                f"An instance cannot be kept in the spool folder ({failure.strerror})",
                "Make room in the worker's spool folder (ADIT_SPOOL).",
            ) from failure

    def _report(self, last: Command, failed: tuple[str, ...], delivered: int, announced: int) -> FetchReport:
        warning, failures = last.warning or 0, max(last.failed or 0, len(failed))
        completed = delivered - warning if last.completed is None else last.completed
        counted = FetchReport(ROAD, max(0, completed), failures, warning, failed)
        faults = fetch_faults(self._peer, last.status or SUCCESS, counted, delivered, announced)
        if not delivered:
            faults = tuple(self._unreached(fault) if fault.code in _BROUGHT_NOTHING else fault for fault in faults)
        return FetchReport(ROAD, counted.completed, failures, warning, failed, faults, announced)

    def _unreached(self, fault: Fault) -> Fault:
        title = self._peer.dimse.receiver_ae_title
        cure = (
            "See that a receiver runs (`--receive PORT` of `adit run` and `adit up`, `receiver.enabled` of the chart), "
            f"that the node has '{title}' entered with the receiver's address and port, and that the receiver takes "
            "associations from it (its log tells)."
        )
        return fault.model_copy(update={"cure": cure})

    def _unsaid(self, delivered: int) -> FetchReport:
        """All that was expected is here, and the peer does not say that it is done."""
        silent = self._peer.describe(
            FaultCode.FETCHED_WITH_WARNING,
            f"The node sent {delivered} instances by C-MOVE, all that were expected, and never said that it was done",
            "Look for this moment in the node's log.",
        )
        return FetchReport(ROAD, delivered, 0, 0, (), (silent,))
