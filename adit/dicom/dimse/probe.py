"""What a peer can do, asked of the peer itself: C-ECHO, and what it accepts in negotiation.

Called by `node` for `adit node probe`. Two associations: the services, then the transfer syntaxes of
a CT, which stand for what compressed objects the peer takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from pydicom.uid import UID

from adit.dicom.dimse import find, get
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.contexts import COMMON_STORAGE, TRANSFER_SYNTAXES, UNCOMPRESSED
from adit.dicom.dimse.negotiation import Proposal
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import SUCCESS
from adit.dicom.node import Probe
from adit.model.dicom_node import Service
from adit.model.outcome import FaultCode, TransferFault

VERIFICATION: Final = "1.2.840.10008.1.1"
_CT: Final = "1.2.840.10008.5.1.4.1.1.2"
_SERVICE_OF: Final = {
    VERIFICATION: Service.VERIFICATION,
    find.STUDY_ROOT: Service.STUDY_ROOT_FIND,
    get.STUDY_ROOT: Service.STUDY_ROOT_GET,
    "1.2.840.10008.5.1.4.1.2.2.2": Service.STUDY_ROOT_MOVE,
    find.PATIENT_ROOT: Service.PATIENT_ROOT_FIND,
    get.PATIENT_ROOT: Service.PATIENT_ROOT_GET,
    "1.2.840.10008.5.1.4.1.2.1.2": Service.PATIENT_ROOT_MOVE,
    **dict.fromkeys(COMMON_STORAGE, Service.STORAGE),
}
Associated = Callable[[Sequence[Proposal]], AbstractContextManager[Association]]


def probe(peer: Peer, associated: Associated) -> Probe:
    """Never raises a TransferFault: a fault is part of the answer."""
    try:
        with associated([Proposal(uid, UNCOMPRESSED) for uid in _SERVICE_OF]) as association:
            accepted = {context.abstract_syntax for context in association.accepted.values()}
            if VERIFICATION in accepted:
                _echo(association, peer)
            detail = {
                "implementation": association.implementation or "not given",
                "maximum PDU length": str(association.max_pdu or "unlimited"),
                "storage classes": f"{len(accepted & set(COMMON_STORAGE))} of {len(COMMON_STORAGE)} common ones",
            }
        if _CT in accepted:
            with associated([Proposal(_CT, (syntax,)) for syntax in TRANSFER_SYNTAXES]) as association:
                syntaxes = [UID(context.transfer_syntax).name for context in association.accepted.values()]
            detail["transfer syntaxes"] = "; ".join(syntaxes)
    except TransferFault as stopped:
        return Probe(reachable=False, fault=stopped.fault)
    offered = {_SERVICE_OF[uid] for uid in accepted}
    return Probe(reachable=True, services=tuple(each.value for each in Service if each in offered), detail=detail)


def _echo(association: Association, peer: Peer) -> None:
    context = next(each for each in association.accepted.values() if each.abstract_syntax == VERIFICATION)
    message_id = association.next_message_id()
    association.send(context, Command(field=CommandField.C_ECHO_RQ, sop_class_uid=VERIFICATION, message_id=message_id))
    _, answer = association.receive()
    if answer.field != CommandField.C_ECHO_RSP or answer.status != SUCCESS:
        raise peer.fault(
            FaultCode.QUERY_FAILED,
            "The peer did not answer C-ECHO with success",
            "Look into the node's log.",
            status=answer.status,
        )
