"""What a DIMSE status means to us: pure functions from a response to faults.

Called by `find`, `get`, `move` and `store`. A peer's ErrorComment is never repeated: some quote the patient.
Sources: PS3.7 Annex C, PS3.4 B.2.3, C.4.1.1.4, C.4.3.1.4.
"""

from __future__ import annotations

from typing import Final

from adit.dicom.dimse.peer import Peer
from adit.dicom.node import FetchReport
from adit.model.outcome import Fault, FaultCode

SUCCESS: Final = 0x0000
CANCELLED: Final = 0xFE00
PENDING: Final = frozenset({0xFF00, 0xFF01})
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

_NAMED: Final = 5  # instances in a message
_SUB_OPERATIONS_FAILED: Final = 0xA702
_SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
_NOT_AUTHORIZED: Final = 0x0124
_MOVE_DESTINATION_UNKNOWN: Final = 0xA801
_DUPLICATE_INSTANCE: Final = 0x0111
_STORE_WARNINGS: Final = {
    0xB000: "coerced elements of it",
    0xB006: "discarded elements of it",
    0xB007: "finds that it does not match its SOP class",
}
_LOG: Final = "Look for this moment in the node's log."


def is_warning(status: int) -> bool:
    """PS3.7 C.1.3: 0001, Bxxx, 0107, 0116."""
    return status in (0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000


def find_fault(peer: Peer, status: int) -> Fault:
    """The fault that a final C-FIND status other than Success stands for."""
    if status & 0xFF00 == 0xA700:
        return peer.describe(
            FaultCode.OUT_OF_RESOURCES, "The query failed, the node is out of resources", _LATER, status=status
        )
    if status == _SOP_CLASS_NOT_SUPPORTED:
        return peer.describe(
            FaultCode.SERVICE_NOT_OFFERED, "The node does not offer this query", _SERVICES, status=status
        )
    if status == _NOT_AUTHORIZED:
        return peer.describe(FaultCode.PERMISSION_DENIED, "The node refuses our query", _permit(peer), status=status)
    return peer.describe(FaultCode.QUERY_FAILED, "The query failed", _LOG, status=status)


def fetch_faults(peer: Peer, status: int, report: FetchReport, delivered: int, announced: int = 0) -> tuple[Fault, ...]:
    """What a final C-GET or C-MOVE response means; empty only when it is a success in every respect.

    `delivered` counts the instances that really came, `announced` what the pending responses promised.
    Some peers answer Success although each sub-operation failed (GE, Synapse), or although there was none
    (IMPAX, when busy).
    """

    def fault(code: FaultCode, message: str, cure: str) -> tuple[Fault, ...]:
        return (peer.describe(code, message, cure, status=status),)

    total = report.failed + report.completed + report.warning
    unsent = f"The node could not send {report.failed} of {total} instances{_named(report.failed_sop_instance_uids)}"
    if status == _SUB_OPERATIONS_FAILED and report.failed:
        return fault(FaultCode.OUT_OF_RESOURCES, unsent, _UNSENT)
    if status & 0xFF00 == 0xA700:
        return fault(FaultCode.OUT_OF_RESOURCES, "The fetch failed, the node is out of resources", _LATER)
    if status == _SOP_CLASS_NOT_SUPPORTED:
        return fault(FaultCode.SERVICE_NOT_OFFERED, f"The node does not offer {report.road}", _SERVICES)
    if status == _NOT_AUTHORIZED:
        return fault(FaultCode.PERMISSION_DENIED, "The node refuses our fetch", _permit(peer))
    if status == _MOVE_DESTINATION_UNKNOWN:
        title = peer.dimse.receiver_ae_title
        return fault(
            FaultCode.MOVE_DESTINATION_UNKNOWN,
            f"The node does not know '{title}', to which it was asked to send",
            f"Have '{title}' entered at the node with the receiver's address and port, or correct moveDestination.",
        )
    if status != SUCCESS and not is_warning(status):
        return fault(FaultCode.FETCH_FAILED, "The fetch failed", _LOG)
    if report.failed and not report.completed and not report.warning:
        return fault(FaultCode.FETCH_FAILED, unsent, _UNSENT)
    if report.failed:
        return fault(FaultCode.INCOMPLETE, unsent, _UNSENT)
    if (said := max(announced, report.completed + report.warning)) > delivered:
        return fault(
            FaultCode.INCOMPLETE,
            f"The node spoke of {said} instances, {delivered} came",
            f"What is missing is asked for again. {_LOG}",
        )
    if not delivered:
        return fault(
            FaultCode.NOTHING_RECEIVED,
            "The node answered success and sent nothing",
            "Check that the study is still there and online; a busy archive may need a moment.",
        )
    if status != SUCCESS or report.warning:
        return fault(FaultCode.FETCHED_WITH_WARNING, f"The node sent {delivered} instances, with a warning", _LOG)
    return ()


def store_fault(peer: Peer, instance: str, sop_class: str, status: int) -> Fault | None:
    """What a C-STORE response means for one instance; None for Success.

    0x0111 is a warning: the peer has an instance of this UID already and kept its own. Most likely an
    earlier attempt stored it, so it is not refused; but nobody has proven that the two are equal.
    """

    def fault(code: FaultCode, message: str, cure: str) -> Fault:
        return peer.describe(code, message, cure, instance=instance, status=status)

    if status == SUCCESS:
        return None
    if status == _DUPLICATE_INSTANCE:
        return fault(
            FaultCode.STORED_WITH_WARNING,
            "The node had an instance with this UID already and kept its own",
            "Compare the two if the node was not filled by an earlier attempt.",
        )
    if is_warning(status):
        words = _STORE_WARNINGS.get(status, "stored it with a warning")
        return fault(FaultCode.STORED_WITH_WARNING, f"The node {words}", "Compare what it stored with what was sent.")
    if status & 0xFF00 == 0xA700:
        return fault(FaultCode.OUT_OF_RESOURCES, "The node is out of resources", _LATER)
    if status & 0xFF00 == 0xA900:
        return fault(
            FaultCode.INSTANCE_REFUSED,
            "The node finds that the data set does not match its SOP class",
            f"Check the instance's conformance at its source. {_LOG}",
        )
    if status & 0xF000 == 0xC000:
        return fault(
            FaultCode.INSTANCE_REFUSED,
            "The node cannot understand the instance",
            f"Check the instance's conformance at its source. {_LOG}",
        )
    if status == _SOP_CLASS_NOT_SUPPORTED:
        return fault(
            FaultCode.SOP_CLASS_REFUSED,
            f"The node does not support the SOP class {sop_class}",
            "Have the class enabled at the node, or leave the series out.",
        )
    if status == _NOT_AUTHORIZED:
        return fault(FaultCode.PERMISSION_DENIED, "The node does not let us store", _permit(peer))
    return fault(FaultCode.STORE_FAILED, "The node could not store the instance", _LOG)


def _named(uids: tuple[str, ...]) -> str:
    """The first of them, to be put behind "instances"."""
    if not uids:
        return ""
    return f" ({', '.join(uids[:_NAMED])}{' and others' if len(uids) > _NAMED else ''})"


_UNSENT: Final = (
    "What is missing is asked for again. If it fails each time, possibly no presentation context could be agreed "
    "for the instances' SOP class and transfer syntax: look for them in the node's log."
)
_LATER: Final = "Lower the node's limits if it happens often."
_SERVICES: Final = "See `adit node probe` for what it offers, and correct the node's services."


def _permit(peer: Peer) -> str:
    return f"Have '{peer.dimse.calling_ae_title}' permitted at the node."
