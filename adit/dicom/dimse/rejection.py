"""What a peer's A-ASSOCIATE-RJ or A-ABORT means to us (PS3.8 sections 9.3.4, 9.3.8). Called by `association`."""

from __future__ import annotations

from typing import Final

from adit.dicom.dimse.peer import Peer
from adit.model.outcome import FaultCode, TransferFault

_REJECTED_TRANSIENT: Final = 2
_BY_USER, _BY_ACSE, _BY_PRESENTATION = 1, 2, 3
_REASONS: Final = {
    (_BY_USER, 1): "no reason given",
    (_BY_USER, 2): "application context name not supported",
    (_BY_USER, 3): "calling AE title not recognized",
    (_BY_USER, 7): "called AE title not recognized",
    (_BY_ACSE, 1): "no reason given by its ACSE provider",
    (_BY_ACSE, 2): "protocol version not supported",
    (_BY_PRESENTATION, 1): "temporary congestion",
    (_BY_PRESENTATION, 2): "local limit exceeded",
}
_ABORT_REASONS: Final = {
    0: "no reason given",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}


def rejection_fault(peer: Peer, body: bytes) -> TransferFault:
    """`body` is what follows the length of an A-ASSOCIATE-RJ: reserved, result, source, reason."""
    _, result, source, reason = body
    words = _REASONS.get((source, reason), f"source {source}, reason {reason}")
    message = f"{peer.address} rejected the association: {words}"
    if result == _REJECTED_TRANSIENT or source == _BY_PRESENTATION:
        return peer.fault(
            FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
            message,
            "If it happens often, lower limits.associations or limits.tasks of the node.",
        )
    return peer.fault(
        FaultCode.ASSOCIATION_REJECTED,
        message,
        f"Check that the peer's own AE title is '{peer.dimse.ae_title}' and that it has "
        f"'{peer.dimse.calling_ae_title}' registered as a caller, with our address.",
    )


def abort_fault(peer: Peer, body: bytes) -> TransferFault:
    """`body` is what follows the length of an A-ABORT: two reserved bytes, source, reason."""
    _, _, source, reason = body
    words = f": {_ABORT_REASONS.get(reason, f'reason {reason}')}" if source == 2 else ""
    return peer.fault(
        FaultCode.ASSOCIATION_ABORTED,
        f"{peer.dimse.ae_title} aborted the association{words}",
        "If it happens each time, look into the node's log.",
    )
