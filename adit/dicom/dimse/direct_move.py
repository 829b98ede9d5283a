"""C-MOVE as SCU to somewhere else: the peer is asked to send to another node, and its word is all that we hear of it.

Called by `node`. What arrived there the destination has to tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from adit.dicom.dimse import identifier
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.cancel import call_off
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.get import combined, failed_uids, requests, total
from adit.dicom.dimse.move import PATIENT_ROOT, STUDY_ROOT
from adit.dicom.dimse.negotiation import Context
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import PENDING, SUCCESS, fetch_faults
from adit.dicom.node import DIRECT, FetchReport, Wanted
from adit.model.outcome import Fault, FaultCode, TransferFault

_TICK: Final = 0.2  # seconds in which an order to stop is noticed


class DirectMove:
    """`check` raises when the node was interrupted; `arriving` tells whether the destination has more than before."""

    def __init__(
        self,
        association: Association,
        peer: Peer,
        ae_title: str,
        check: Callable[[], None],
        arriving: Callable[[], bool],
    ) -> None:
        self._association = association
        self._peer = peer
        self._ae_title = ae_title
        self._check = check
        self._arriving = arriving

    def run(self, wanted: Wanted, model: str) -> FetchReport:
        """Raises TransferFault when the source gives no final word."""
        accepted = self._association.accepted.values()
        context = next((each for each in accepted if each.abstract_syntax == model), None)
        if context is None:
            raise self._peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"The peer does not accept C-MOVE by {'study' if model == STUDY_ROOT else 'patient'} root",
                "See `adit node probe` for what it offers, and correct the node's services.",
            )
        self._association.spare()
        asked = requests(wanted, by_patient=model == PATIENT_ROOT)
        return combined([self._request(context, keys, _most(wanted, keys), wanted.heard) for keys in asked])

    def _request(
        self, context: Context, keys: dict[str, str], most: int | None, heard: Callable[[int], None]
    ) -> FetchReport:
        """`most` is how many instances may come of it, where all of the study would be too many."""
        message_id = self._association.next_message_id()
        self._association.send(
            context,
            Command(
                field=CommandField.C_MOVE_RQ,
                has_data_set=True,
                sop_class_uid=context.abstract_syntax,
                message_id=message_id,
                priority=0,
                move_destination=self._ae_title,
            ),
            identifier.encode(keys, context.transfer_syntax),
        )
        try:
            last, failed, announced = self._final_word(most, heard)
        except BaseException:
            call_off(self._association, context, message_id)
            raise
        if most is not None and announced > most:
            raise self._too_many(announced, most)
        return self._report(last, failed, announced)

    def _final_word(self, most: int | None, heard: Callable[[int], None]) -> tuple[Command, tuple[str, ...], int]:
        """The final response, its failed UIDs, and the most sub-operations that were spoken of."""
        announced, said_at, patience = 0, time.monotonic(), self._peer.dimse.timeouts.dimse_seconds
        while True:
            self._check()
            if not self._association.wait(_TICK):
                if time.monotonic() - said_at > patience:
                    if not self._arriving():  # some say nothing before they are done
                        raise self._silent()
                    said_at = time.monotonic()
                continue
            at, command = self._association.receive()
            if command.field != CommandField.C_MOVE_RSP or command.status is None:
                raise self._peer.fault(
                    FaultCode.FETCH_FAILED,
                    f"The peer answered C-MOVE with a message of type 0x{command.field:04X}",
                    "The peer breaks PS3.7 9.1.4; report it to its vendor.",
                )
            encoded = self._association.receive_identifier() if command.has_data_set else b""
            announced, said_at = max(announced, total(command)), time.monotonic()
            if most is None or announced <= most:  # else it speaks of the whole study
                heard(announced)
            if command.status not in PENDING:
                return command, failed_uids(encoded, at), announced
            if most is not None and announced > most:
                raise self._too_many(announced, most)

    def _report(self, last: Command, failed: tuple[str, ...], announced: int) -> FetchReport:
        completed, warning = last.completed or 0, last.warning or 0
        failures = max(last.failed or 0, len(failed))
        counted = FetchReport(DIRECT, completed, failures, warning, failed)
        said = fetch_faults(self._peer, last.status or SUCCESS, counted, completed + warning, announced)
        faults = tuple(self._unknown(fault) for fault in said)
        return FetchReport(DIRECT, completed, failures, warning, failed, faults, announced)

    def _unknown(self, fault: Fault) -> Fault:
        if fault.code is not FaultCode.MOVE_DESTINATION_UNKNOWN:
            return fault
        return self._peer.describe(
            fault.code,
            f"The node does not know '{self._ae_title}', the destination's AE title",
            "Have it entered there with the destination's address; until then instances go through us.",
            status=fault.status,
        )

    def _too_many(self, announced: int, most: int) -> TransferFault:
        return self._peer.fault(
            FaultCode.FETCHED_WITH_WARNING,
            f"The node was asked to send {most} instances of a series to '{self._ae_title}' and spoke of {announced}; "
            "more of the study than was asked for may be there now",
            "Delete there what it was not to get, and leave out source.direct where only some series are asked for.",
        )

    def _silent(self) -> TransferFault:
        patience = self._peer.dimse.timeouts.dimse_seconds
        return self._peer.fault(
            FaultCode.NODE_TIMEOUT,
            f"{self._peer.address} did not answer C-MOVE for {patience:g} s, and '{self._ae_title}' got nothing",
            "See whether the node is overloaded; raise timeouts.dimseSeconds if it is only slow.",
        )


def _most(wanted: Wanted, keys: dict[str, str]) -> int | None:
    if wanted.series_instance_uid is None or not wanted.expected:
        return None
    named = keys.get("SOPInstanceUID")
    return len(wanted.expected) if named is None else len(named.split("\\"))
