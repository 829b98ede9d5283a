"""How people are told that an instance cannot be de-identified, or that nothing can be. Used by `deidentification`."""

from __future__ import annotations

from typing import Final

from adit.deid.pixels.quarantine import PixelReason
from adit.deid.quarantine import Quarantine, Reason
from adit.model.outcome import Fault, FaultCode, TransferFault

_ANOTHER_RULE: Final = "Give the profile a rule in `pixels` for this device or kind, or exclude the kind."
_CURES: Final[dict[str, str]] = {
    PixelReason.BURNED_IN_ANNOTATION: _ANOTHER_RULE,
    PixelReason.BURNED_IN_UNKNOWN: _ANOTHER_RULE,
    PixelReason.SECONDARY_CAPTURE: _ANOTHER_RULE,
    PixelReason.ENCAPSULATED_DOCUMENT: "Exclude its SOP class in the profile: nobody can say what a document shows.",
    PixelReason.RECOGNIZABLE_FEATURES: _ANOTHER_RULE,
    PixelReason.RULE_REFUSES: "The profile says so; change its rule if the instance may be sent.",
    PixelReason.RECTANGLE_OUTSIDE_IMAGE: "Correct the rectangles of the profile's rule for this device.",
    PixelReason.UNUSED_BITS: "Give the profile a rule in `pixels` that masks them, as they are decoded then; or, where "
    "nothing is hidden there, `unusedBits: Keep`.",
    PixelReason.CODEC_MISSING: "Its compressed pixels must be decoded, and this worker has no decoder: install "
    "adit's extra `pixels` beside it (its image holds it), or exclude its kind.",
    Reason.TOO_LARGE: "De-identify it with `adit deid`, or exclude its SOP class in the profile.",
    Reason.IDENTIFIER_LEFT: "Give the profile an override that removes this element, or report it as a gap.",
}
_CURE: Final = "Have the instance repaired at the source, or exclude its kind in the profile."


def quarantined(sop_instance_uid: str, why: Quarantine) -> Fault:
    """With reason and place, and no value."""
    return Fault(
        code=FaultCode.DEIDENTIFICATION_REFUSED,
        message=f"The instance cannot be de-identified: {why}.",
        cure=_CURES.get(why.cause or why.reason, _CURE),
        sop_instance_uid=sop_instance_uid,
    )


def unavailable(message: str, cure: str, code: FaultCode = FaultCode.DEIDENTIFICATION_UNAVAILABLE) -> TransferFault:
    return TransferFault(Fault(code=code, message=message, cure=cure))
