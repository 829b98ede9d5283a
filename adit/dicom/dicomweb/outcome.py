"""What became of each instance of a STOW-RS request, by the server's own list (PS3.18 10.5.3). Pure; called by `store`.

Only what the server names as stored is taken for stored. Reasons are those of C-STORE (PS3.18 table 10.5.3-2 after
PS3.4 B.2.3), as far as servers keep to it; a server's words are never repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adit.dicom.dicomweb.json_answer import MalformedError, documents, listed
from adit.dicom.dicomweb.server import Server
from adit.model.outcome import Fault, FaultCode

_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"
_DUPLICATE: Final = frozenset({0x0111, 0xB00E})  # the second is Azure's
_NOT_AUTHORIZED: Final = 0x0124
_SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
_TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 0xC122
_WARNINGS: Final = {
    0xB000: "coerced elements of it",
    0xB006: "discarded elements of it",
    0xB007: "finds that it does not match its SOP class",
}
_LOG: Final = "Look for this moment in the node's log."


@dataclass(slots=True)
class Outcomes:
    """The reasons that the server gave, by SOP Instance UID; None where it stored one and gave none."""

    stored: dict[str, int | None] = field(default_factory=dict)
    failed: dict[str, int | None] = field(default_factory=dict)


def outcomes(body: bytes) -> Outcomes:
    """Raises MalformedError for what is no DICOM JSON."""
    found = Outcomes()
    for document in documents(body):
        for item in _items(document, _REFERENCED):
            found.stored[_uid(item)] = _reason(item, _WARNING)
        for item in _items(document, _FAILED):
            found.failed[_uid(item)] = _reason(item, _FAILURE)
    return found


def _items(document: Mapping[str, Any], sequence: str) -> Sequence[Mapping[str, Any]]:
    items = listed(document.get(sequence, {}))
    if not all(isinstance(item, Mapping) for item in items):
        raise MalformedError("an item in it is none")
    return items


def verdict(server: Server, uid: str, sop_class_uid: str, found: Outcomes, http_status: int) -> Fault | None:
    """What is to be said of one instance that was sent; None when it was stored, without more ado."""

    def fault(code: FaultCode, message: str, cure: str, status: int | None) -> Fault:
        return server.describe(code, message, cure, instance=uid, status=status)

    if uid in found.failed:
        return _failure(server, uid, sop_class_uid, found.failed[uid])
    if uid not in found.stored:
        return fault(
            FaultCode.STORE_FAILED,
            f"The node does not say what became of the instance (HTTP {http_status})",
            _LOG,
            None,
        )
    warning = found.stored[uid]
    if warning is None:
        return None
    words = _WARNINGS.get(warning, "stored it with a warning")
    return fault(
        FaultCode.STORED_WITH_WARNING, f"The node {words}", "Compare what it stored with what was sent.", warning
    )


def _failure(server: Server, uid: str, sop_class_uid: str, reason: int | None) -> Fault:
    def fault(code: FaultCode, message: str, cure: str) -> Fault:
        return server.describe(code, message, cure, instance=uid, status=reason)

    conformance = f"Check the instance's conformance at its source. {_LOG}"
    if reason in _DUPLICATE:
        return fault(
            FaultCode.STORED_WITH_WARNING,
            "The node had an instance with this UID already and kept its own",
            "Compare the two if the node was not filled by an earlier attempt.",
        )
    if reason == _SOP_CLASS_NOT_SUPPORTED:
        return fault(
            FaultCode.SOP_CLASS_REFUSED,
            f"The node does not support the SOP class {sop_class_uid}",
            "Have the class enabled at the node, or leave the series out.",
        )
    if reason == _TRANSFER_SYNTAX_NOT_SUPPORTED:
        return fault(
            FaultCode.TRANSFER_SYNTAX_REFUSED,
            "The node does not accept the instance's transfer syntax",
            "Have it enabled at the node; the instance is never decompressed on the way.",
        )
    if reason == _NOT_AUTHORIZED:
        return fault(
            FaultCode.PERMISSION_DENIED, "The node does not let us store", "Check what the node's credentials may do."
        )
    match 0 if reason is None else reason & 0xFF00:
        case 0xA700:
            return fault(
                FaultCode.OUT_OF_RESOURCES,
                "The node is out of resources",
                "Lower the node's limits if it happens often.",
            )
        case 0xA900:
            return fault(
                FaultCode.INSTANCE_REFUSED, "The node finds that the data set does not match its SOP class", conformance
            )
        case high if high & 0xF000 == 0xC000:
            return fault(FaultCode.INSTANCE_REFUSED, "The node cannot understand the instance", conformance)
    return fault(FaultCode.STORE_FAILED, "The node could not store the instance", _LOG)


def _uid(item: Mapping[str, Any]) -> str:
    value = next(iter(listed(item.get(_INSTANCE, {}))), "")
    return str(value).strip("\0 ")


def _reason(item: Mapping[str, Any], tag: str) -> int | None:
    """A reason that is there and cannot be read is a reason still: Processing failure, or a warning of no name."""
    value = next(iter(listed(item.get(tag, {}))), None)
    if value is None:
        return None
    try:
        return int(value) & 0xFFFF
    except (ValueError, TypeError, OverflowError):
        return 0x0110
