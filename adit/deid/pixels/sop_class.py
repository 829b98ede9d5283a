"""How likely an image of a SOP class is to have text in its pixels. Asked by `plan`.

By PS3.6's registry and by practice: ultrasound, photography, endoscopy and screenshots are where names are
burned in. What is not listed is risky: a class that nobody here knows must not pass for being new.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Hazard(StrEnum):
    PLAIN = "Plain"  # acquired by a modality that writes no text into the matrix
    RISKY = "Risky"  # text is often burned in
    ULTRASOUND = "Ultrasound"  # risky, and its header may tell where the image is
    CAPTURE = "Capture"  # a screenshot, a scan of paper or film, a dose report as a picture
    DOCUMENT = "Document"  # a PDF, CDA, 3D model or recorded voice: no pixels that could be masked


_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_HAZARDS: Final[dict[str, Hazard]] = {
    **dict.fromkeys(("3", "3.1", "6", "6.1"), Hazard.ULTRASOUND),
    **dict.fromkeys(("7", "7.1", "7.2", "7.3", "7.4"), Hazard.CAPTURE),
    **dict.fromkeys(("104.1", "104.2", "104.3", "104.4", "104.5", "9.4.1", "9.4.2"), Hazard.DOCUMENT),
    **dict.fromkeys(
        (
            *("77.1.6", "77.1.8", "77.1.9"),  # whole slide and confocal microscopy; slide labels tell by ImageType
            *("77.1.5.7", "77.1.5.8", "4.3"),  # OCT en face and B-scan analysis, enhanced MR colour
            *("66.4", "30", "81.1", "82.1"),  # segmentation, parametric and thickness maps
        ),
        Hazard.PLAIN,
    ),
}
_PLAIN_WHEN_GREY: Final = frozenset(
    {
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"),  # CR, DX, mammography, intra-oral
        *("2", "2.1", "2.2", "4", "4.1", "4.4"),  # CT, MR
        *("12.1", "12.1.1", "12.2", "12.2.1", "12.3"),  # XA, radiofluoroscopy
        *("13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5"),  # X-ray 3D, tomosynthesis, breast projection
        *("5", "20", "128", "128.1", "130"),  # NM, PET
        *("14.1", "14.2", "77.1.5.4"),  # optical coherence tomography
        *("481.1", "481.2", "481.23", "481.24"),  # RT image and dose
    }
)
_CAPTURE_WORDS: Final = frozenset(
    {
        "SCREEN SAVE",
        "SCREENSAVE",
        "SCREENSHOT",
        "SCREEN SHOT",
        "DOSE REPORT",
        "DOSE INFO",
        "PROTOCOL",
        "LABEL",
        "REPORT",
    }
)


def hazard_of(sop_class_uid: str, image_type: tuple[str, ...], samples_per_pixel: int | None) -> Hazard:
    """By the SOP class; ImageType and colour say more: a screenshot is one whatever class it hides in."""
    number = sop_class_uid.removeprefix(_STORAGE) if sop_class_uid.startswith(_STORAGE) else ""
    hazard = _HAZARDS.get(number, Hazard.RISKY)
    if number in _PLAIN_WHEN_GREY:
        hazard = Hazard.PLAIN if samples_per_pixel == 1 else Hazard.RISKY
    words = {value.strip().upper().replace("_", " ") for value in image_type}
    return Hazard.CAPTURE if hazard is not Hazard.DOCUMENT and words & _CAPTURE_WORDS else hazard
