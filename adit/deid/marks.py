"""What an instance says about its own de-identification (PS3.15 E.1.2, PS3.3 C.12.1): only what was done.

Written by both walks in place of whatever stood there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adit.deid.engine.encoding import element, sequence
from adit.deid.policy import Policy
from adit.model.deid_profile import Option, OverrideAction

IDENTITY_REMOVED: Final = 0x00120062
METHOD: Final = 0x00120063
METHOD_CODES: Final = 0x00120064
TEMPORAL: Final = 0x00280303
BASIC_PROFILE: Final = "BasicProfile"
_CLEAN_PIXEL_DATA: Final = "CleanPixelData"
_LONGEST: Final = 64


def method_texts(policy: Policy) -> list[str]:
    """The values of DeidentificationMethod, each of at most 64 characters."""
    profile = f"profile {policy.profile.metadata.name}"
    texts = [f"ADIT, DICOM PS3.15 {policy.standard.edition}", profile[:_LONGEST]]
    return [*texts, "with site overrides that retain"] if policy.weakened else texts


def method_codes(policy: Policy, *, pixels_cleaned: bool = False) -> list[tuple[str, str]]:
    """Value and meaning of each code of CID 7050 that holds."""
    names = [] if policy.weakened else [BASIC_PROFILE]
    names += [option for option in Option if option in policy.options and not policy.loosens(option)]
    if pixels_cleaned:
        names.append(_CLEAN_PIXEL_DATA)
    return sorted(policy.standard.methods[name] for name in names)


def identity_removed(policy: Policy) -> str:
    """The value of PatientIdentityRemoved."""
    return "NO" if policy.keeps_identity else "YES"


def temporal(policy: Policy) -> str:
    """The value of LongitudinalTemporalInformationModified: of what is true of some dates, what tells most of them."""
    if Option.RETAIN_FULL_DATES in policy.options or policy.overrides_dates(OverrideAction.KEEP):
        return "UNMODIFIED"
    shifted = Option.RETAIN_MODIFIED_DATES in policy.options or policy.overrides_dates(OverrideAction.SHIFT)
    return "MODIFIED" if shifted else "REMOVED"


def encoded_marks(policy: Policy, *, implicit: bool, pixels_cleaned: bool = False) -> Sequence[tuple[int, bytes]]:
    """The elements with their tags, in order."""

    def text(tag: int, vr: str, value: str) -> bytes:
        return element(tag, vr, value.encode("ascii"), implicit=implicit)

    codes = [
        text(0x00080100, "SH", value) + text(0x00080102, "SH", "DCM") + text(0x00080104, "LO", meaning)
        for value, meaning in method_codes(policy, pixels_cleaned=pixels_cleaned)
    ]
    return (
        (IDENTITY_REMOVED, text(IDENTITY_REMOVED, "CS", identity_removed(policy))),
        (METHOD, text(METHOD, "LO", "\\".join(method_texts(policy)))),
        (METHOD_CODES, sequence(METHOD_CODES, codes, implicit=implicit)),
        (TEMPORAL, text(TEMPORAL, "CS", temporal(policy))),
    )
