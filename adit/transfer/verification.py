"""Asks the destination, after everything was sent, whether it really has it. Called once by `attempt`."""

from __future__ import annotations

from collections.abc import Sequence

from adit.dicom.node import Node, Stored
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault, FaultCode
from adit.transfer.halt import Halt
from adit.transfer.patience import Patience
from adit.transfer.roster import Roster


def verify(destination: Node, study_instance_uid: str, roster: Roster, halt: Halt, patience: Patience) -> None:
    """Marks what the destination has as verified, and what it lacks as not proven.

    Raises TransferFault when the destination cannot be asked now; what is stored then stays stored.
    """
    asked = [stored_as(row) for row in roster.awaiting_proof()]
    absent = _ask(destination, study_instance_uid, roster, asked)
    for delay in patience.ask_again:
        if not absent:
            return
        if halt.wait(delay):
            return  # nobody knows yet: they stay stored, and the next attempt asks
        missing = [stored for stored in asked if stored.sop_instance_uid in absent]
        absent = _ask(destination, study_instance_uid, roster, missing)
    for uid, fault in absent.items():
        roster.unproven(uid, fault)


def _ask(destination: Node, study_instance_uid: str, roster: Roster, asked: Sequence[Stored]) -> dict[str, Fault]:
    """Those that the destination says it has not, or says nothing about, and why."""
    absent = {stored.sop_instance_uid: _not_proven(stored, destination) for stored in asked}
    for proof in destination.verify(study_instance_uid, asked) if asked else ():
        if proof.present:
            absent.pop(proof.sop_instance_uid, None)
            roster.verified(proof.sop_instance_uid)
        elif proof.fault is not None and proof.sop_instance_uid in absent:
            absent[proof.sop_instance_uid] = proof.fault
    return absent


def stored_as(row: InstanceRecord) -> Stored:
    """The acknowledgement that a stored instance's row keeps."""
    return Stored(
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_class_uid=row.sop_class_uid or "",
        transfer_syntax_uid=row.transfer_syntax_uid or "",
        size=row.size or 0,
        sha256=row.sha256 or "",
        location=row.location,
    )


def _not_proven(stored: Stored, destination: Node) -> Fault:
    return Fault(
        code=FaultCode.NOT_PROVEN,
        message="The destination acknowledged this instance but does not have it.",
        cure="See the destination's log and its free space; the next attempt sends it again.",
        node=destination.name,
        sop_instance_uid=stored.sop_instance_uid,
    )
