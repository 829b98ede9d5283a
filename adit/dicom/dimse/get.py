"""C-GET as SCU and the C-STORE sub-operations that it brings: the encoded bytes, never decoded.

Called by `node`. Everything happens in one thread on one association: while `deliver` blocks we don't
read, and TCP makes the source wait. The final response is read and believed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from adit.dicom.dimse import identifier
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.cancel import call_off
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.header import UnreadableError, identity
from adit.dicom.dimse.negotiation import Context
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    OUT_OF_RESOURCES,
    PENDING,
    SUCCESS,
    fetch_faults,
)
from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.dicom.payload import PayloadWriter, ReceivedInstance, Spool
from adit.model.dicom_node import Service
from adit.model.outcome import WARNINGS, Fault, FaultCode, TransferFault

ROAD: Final = "C-GET"
STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.3"
_UIDS_AT_ONCE: Final = 100  # an identifier of at most 6.5 KiB
_NOBODY_LISTENS: Final = {FaultCode.ASSOCIATION_ABORTED, FaultCode.NODE_TIMEOUT}


def plan(peer: Peer, wanted: Wanted) -> str:
    """The information model to use. Raises SERVICE_NOT_OFFERED."""
    if Service.STUDY_ROOT_GET in peer.dimse.services:
        return STUDY_ROOT
    if Service.PATIENT_ROOT_GET in peer.dimse.services and wanted.patient_id:
        return PATIENT_ROOT
    raise peer.fault(
        FaultCode.SERVICE_NOT_OFFERED,
        "The node offers C-GET by patient root only, and the PatientID is not known"
        if Service.PATIENT_ROOT_GET in peer.dimse.services
        else "The node offers no C-GET",
        "Add StudyRootGet to the node's services if it offers it, or give the patientID with the study.",
    )


def requests(wanted: Wanted, *, by_patient: bool) -> Iterator[dict[str, str]]:
    """The keys of each C-GET, or C-MOVE, that is needed: one, or one per hundred named instances."""
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": wanted.study_instance_uid}
    if by_patient and wanted.patient_id:
        keys["PatientID"] = wanted.patient_id
    if wanted.series_instance_uid is not None:
        keys |= {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": wanted.series_instance_uid}
    if wanted.sop_instance_uids is None:
        yield keys
        return
    if wanted.series_instance_uid is None:
        raise ValueError("named instances are fetched series by series (PS3.4 C.4.3.1.3.1): their series is missing")
    for start in range(0, len(wanted.sop_instance_uids), _UIDS_AT_ONCE):
        chunk = wanted.sop_instance_uids[start : start + _UIDS_AT_ONCE]
        yield keys | {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "\\".join(chunk)}


@dataclass(slots=True)
class Fetch:
    """One fetch in progress; counts what came and remembers what had to be refused.

    `check` raises when the node was interrupted.
    """

    association: Association
    peer: Peer
    deliver: Deliver
    spool: Spool | None
    check: Callable[[], None]
    delivered: int = 0
    stop: TransferFault | None = None  # what `deliver` wants no more for
    owed: tuple[Context, Command] | None = None  # the instance for which the source awaits an answer
    refused: list[Fault] = field(default_factory=list)

    def run(self, wanted: Wanted, model: str) -> FetchReport:
        """Raises TransferFault when the source gives no final word, or `deliver` asks to stop."""
        context = next((each for each in self.association.accepted.values() if each.abstract_syntax == model), None)
        if context is None:
            raise self.peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"The peer does not accept C-GET by {'study' if model == STUDY_ROOT else 'patient'} root",
                "See `adit node probe` for what it offers, and correct the node's services.",
            )
        asked = requests(wanted, by_patient=model == PATIENT_ROOT)
        self.association.spare()
        return combined([self._request(context, wanted, keys) for keys in asked], self.refused)

    def _request(self, context: Context, wanted: Wanted, keys: dict[str, str]) -> FetchReport:
        message_id = self.association.next_message_id()
        self.association.send(
            context,
            Command(
                field=CommandField.C_GET_RQ,
                has_data_set=True,
                sop_class_uid=context.abstract_syntax,
                message_id=message_id,
                priority=0,
            ),
            identifier.encode(keys, context.transfer_syntax),
        )
        try:
            return self._take_all(wanted)
        except TransferFault as stopped:
            if stopped.fault.code not in _NOBODY_LISTENS:
                call_off(self.association, context, message_id, self.owed)
            raise

    def _take_all(self, wanted: Wanted) -> FetchReport:
        delivered_before, announced = self.delivered, 0
        while True:
            at, command = self.association.receive(self.check)
            if command.field == CommandField.C_STORE_RQ:
                self._take(at, command)
            elif command.field == CommandField.C_GET_RSP and command.status is not None:
                encoded = self.association.receive_identifier() if command.has_data_set else b""
                announced = max(announced, total(command))
                wanted.heard(announced)
                if command.status not in PENDING:
                    delivered = self.delivered - delivered_before
                    return self._report(command, failed_uids(encoded, at), delivered, announced)
            else:
                raise self.peer.fault(
                    FaultCode.FETCH_FAILED,
                    f"The peer answered the fetch with a message of type 0x{command.field:04X}",
                    "The peer breaks PS3.7 9.1.3; report it to its vendor.",
                )

    def _take(self, context: Context, command: Command) -> None:
        """Receives one instance, hands it over, and answers the source."""
        self.owed = context, command
        status = self._receive(context, command)
        self.association.send(
            context,
            Command(
                field=CommandField.C_STORE_RSP,
                sop_class_uid=command.sop_class_uid,
                responded_message_id=command.message_id,
                status=status,
                sop_instance_uid=command.sop_instance_uid,
            ),
        )
        self.owed = None
        if self.stop is not None:
            raise self.stop

    def _receive(self, context: Context, command: Command) -> int:
        writer = PayloadWriter(self.spool)
        try:
            if command.has_data_set:
                self.association.receive_data_set(writer.write, self.check)
            payload = writer.finish()
        except OSError as error:
            writer.discard()
            raise self.peer.fault(
                FaultCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else FaultCode.IO_FAILED,
                f"An instance of {writer.size} bytes or more cannot be kept in the spool folder ({error.strerror})",
                "Make room in the worker's spool folder (ADIT_SPOOL).",
            ) from error
        except BaseException:
            writer.discard()
            raise
        try:
            with payload.open() as reader:
                identified = identity(reader, context.transfer_syntax)
        except UnreadableError as error:
            payload.close()
            return self._refuse(command, CANNOT_UNDERSTAND, str(error))
        if identified.sop_instance_uid != command.sop_instance_uid:
            payload.close()
            return self._refuse(command, DATA_SET_MISMATCH, "its data set bears another SOP Instance UID")
        instance = ReceivedInstance(
            identified.study_instance_uid,
            identified.series_instance_uid,
            command.sop_class_uid or context.abstract_syntax,
            identified.sop_instance_uid,
            context.transfer_syntax,
            payload,
        )
        try:
            self.deliver(instance)
        except TransferFault as refusal:
            instance.close()
            if refusal.fault.sop_instance_uid is None:
                self.stop = refusal
            return OUT_OF_RESOURCES
        self.delivered += 1
        return SUCCESS

    def _refuse(self, command: Command, status: int, why: str) -> int:
        self.refused.append(
            self.peer.describe(
                FaultCode.INSTANCE_UNREADABLE,
                f"The node sent an instance that cannot be taken: {why}",
                "Check the instance at its source.",
                instance=command.sop_instance_uid,
                status=status,
            )
        )
        return status

    def _report(self, command: Command, failed_uids: tuple[str, ...], delivered: int, announced: int) -> FetchReport:
        warning, failed = command.warning or 0, max(command.failed or 0, len(failed_uids))
        completed = delivered - warning if command.completed is None else command.completed
        counted = FetchReport(ROAD, max(0, completed), failed, warning, failed_uids)
        status = SUCCESS if command.status is None else command.status
        return FetchReport(
            ROAD,
            counted.completed,
            failed,
            warning,
            failed_uids,
            fetch_faults(self.peer, status, counted, delivered, announced),
            announced,
        )


def combined(reports: Sequence[FetchReport], refused: Sequence[Fault] = ()) -> FetchReport:
    """One word for all of a fetch's requests."""
    return FetchReport(
        reports[0].road,
        sum(each.completed for each in reports),
        sum(each.failed for each in reports),
        sum(each.warning for each in reports),
        tuple(uid for each in reports for uid in each.failed_sop_instance_uids),
        (*(fault for each in reports for fault in each.faults), *refused),
        sum(each.announced for each in reports),
    )


def outcome_of(rounds: Sequence[FetchReport]) -> FetchReport:
    """One word for a fetch over several associations, each of which asked for what the earlier ones did not bring.

    The last one's word on what is missing stands; of the earlier, what they said about single instances and
    their warnings.
    """
    *earlier, last = rounds
    standing = (
        fault
        for each in earlier
        for fault in each.faults
        if fault.sop_instance_uid is not None or fault.code in WARNINGS
    )
    return FetchReport(
        last.road,
        sum(each.completed for each in rounds),
        last.failed,
        sum(each.warning for each in rounds),
        last.failed_sop_instance_uids,
        (*standing, *last.faults),
        max(each.announced for each in rounds),
    )


def total(command: Command) -> int:
    """Of the sub-operations that a response counts, however far they are."""
    return sum(count or 0 for count in (command.remaining, command.completed, command.failed, command.warning))


def failed_uids(encoded: bytes, context: Context) -> tuple[str, ...]:
    """FailedSOPInstanceUIDList (0008,0058), be it absent, one value, many, or garbage."""
    if not encoded:
        return ()
    try:
        value = identifier.decode(encoded, context.transfer_syntax).get("FailedSOPInstanceUIDList")
    except Exception:  # noqa: BLE001 - only a help in finding what failed; the counts decide
        return ()
    values = [value] if isinstance(value, str) else (value or [])
    return tuple(str(uid) for uid in values if uid)
