"""What an HTTP status means to us when it ends a whole request (PS3.18 8.5). Pure; called by `find`, `fetch`, `store`.

A server's own words in the body are never repeated: some quote the patient.
"""

from __future__ import annotations

from typing import Final

from adit.dicom.dicomweb.server import Server
from adit.model.outcome import Fault, FaultCode

_NOT_AUTHORIZED: Final = frozenset({401, 403, 407})
_NOT_OFFERED: Final = frozenset({404, 405, 406, 410, 415, 501})
_TOO_SLOW: Final = frozenset({408, 504})
_NO_ROOM: Final = frozenset({413, 429, 503, 507})
_LOG: Final = "Look for this moment in the node's log."


def refusal(server: Server, status: int, what: str, otherwise: FaultCode) -> Fault:
    """The fault for a status that is none of success; `what` such as "the query" begins no sentence."""

    def fault(code: FaultCode, message: str, cure: str) -> Fault:
        return server.describe(code, f"{message} (HTTP {status})", cure)

    if status in _NOT_AUTHORIZED:
        cure = "Check the node's credentials, and what their owner may do at the server."
        return fault(FaultCode.PERMISSION_DENIED, f"The node refuses {what}", cure)
    if 300 <= status < 400:
        return fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"The node sends us elsewhere for {what}, and we do not go: our credentials are meant for it alone",
            "Correct the node's url or prefixes if the server has moved.",
        )
    if status in _NOT_OFFERED:
        return fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"The node does not offer {what} there, or not in the form that we need",
            "Check the node's url and prefixes; see `adit node probe` for what it offers.",
        )
    if status in _TOO_SLOW:
        cure = "See whether the node is overloaded."
        return fault(FaultCode.NODE_TIMEOUT, f"The node did not get {what} done in time", cure)
    if status in _NO_ROOM:
        cure = "Lower the node's limits if it happens often."
        return fault(FaultCode.OUT_OF_RESOURCES, f"The node has no room for {what}", cure)
    return fault(otherwise, f"The node failed at {what}", _LOG)
