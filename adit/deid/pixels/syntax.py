"""How pixel data are encoded, by transfer syntax (PS3.5 chapter 8 and annex A). Asked by `plan` and `treatment`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Coding(StrEnum):
    NATIVE = "Native"
    RLE = "RLE"
    JPEG = "JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    OTHER = "Other"  # video, JPEG XL, deflated frames, what nobody knows: encapsulated, and a closed book to us
    ELSEWHERE = "Elsewhere"  # JPIP and SMPTE ST 2110: the pixels are not in the instance


EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"

_NATIVE: Final = ("1.2.840.10008.1.2", EXPLICIT_LITTLE, EXPLICIT_BIG, "1.2.840.10008.1.2.1.99")
_JPEG: Final = ("50", "51", "53", "55", "57", "70")  # nobody decodes the hierarchical ones
_ELSEWHERE: Final = ("4.94", "4.95", "4.204", "4.205", "7.1", "7.2", "7.3")
_CODINGS: Final[dict[str, Coding]] = {
    **dict.fromkeys(_NATIVE, Coding.NATIVE),
    **{f"1.2.840.10008.1.2.4.{number}": Coding.JPEG for number in _JPEG},
    **{f"1.2.840.10008.1.2.4.{number}": Coding.JPEG_LS for number in ("80", "81")},
    **{f"1.2.840.10008.1.2.4.{number}": Coding.JPEG_2000 for number in ("90", "91", "201", "202", "203")},
    **{f"1.2.840.10008.1.2.{number}": Coding.ELSEWHERE for number in _ELSEWHERE},
    "1.2.840.10008.1.2.5": Coding.RLE,
}


def coding_of(transfer_syntax_uid: str) -> Coding:
    return _CODINGS.get(transfer_syntax_uid, Coding.OTHER)
