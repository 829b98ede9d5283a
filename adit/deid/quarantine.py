"""Why an instance must not leave as it is: a closed vocabulary. Raised by the engine and by the verification."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from adit.deid import dictionary


class Reason(StrEnum):
    """CamelCase, so that it can stand in an audit or a condition."""

    # it cannot be understood, so nobody can say what is in it
    MALFORMED = "Malformed"
    NESTED_TOO_DEEP = "NestedTooDeep"
    TOO_MANY_CHANGES = "TooManyChanges"
    TOO_LARGE = "TooLarge"
    DUPLICATE_ELEMENT = "DuplicateElement"
    CHANGED = "Changed"
    DUPLICATE_INSTANCE = "DuplicateInstance"
    UNKNOWN_TRANSFER_SYNTAX = "UnknownTransferSyntax"
    IDENTIFIERS_MISSING = "IdentifiersMissing"
    # it can be understood, and not be made safe
    EMBEDDED_OVERLAY = "EmbeddedOverlay"
    CHARACTER_SET = "CharacterSet"
    PIXELS = "Pixels"
    # it was treated, and the second look says otherwise
    IDENTIFIER_LEFT = "IdentifierLeft"
    NOT_VERIFIED = "NotVerified"


class Quarantine(Exception):  # noqa: N818 - an outcome, not a mistake
    """`place` is a path of tags; `detail` holds numbers and DICOM's own words, never a value of the patient's.

    `cause` is a finer word where the reason has some, such as PixelReason's.
    """

    def __init__(self, reason: Reason, place: str, detail: str, *, cause: str | None = None) -> None:
        super().__init__(f"{reason} at {place or 'the beginning'}: {detail}")
        self.reason = reason
        self.place = place
        self.detail = detail
        self.cause = cause


class LeftOut(Exception):  # noqa: N818 - an outcome, not a mistake
    """The profile excludes instances of this modality or class; `what` is its name."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the profile leaves out {what}")
        self.what = what


_SHOWN: Final = 16


def path_text(path: tuple[int, ...]) -> str:
    """The path of tags as people read it: 00400275.00321060."""
    return ".".join(f"{tag:08X}" for tag in path[:_SHOWN])


def place_of(path: tuple[int, ...]) -> str:
    """The same for a refusal: where a length lies, what seems to be a tag are bytes of a value, so only those of PS3.6
    are named."""
    return ".".join(f"{tag:08X}" if dictionary.is_known(tag) else "????" for tag in path[:_SHOWN])
