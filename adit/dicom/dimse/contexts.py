"""Which presentation contexts we propose. Pure; called by `get`, `store`, `find` and `probe`.

One SOP class and one transfer syntax per context, because an acceptor picks one syntax of each context:
offered together, a compressed object could not pass where the uncompressed one was picked (L18).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Final

from adit.dicom.dimse.negotiation import MAX_CONTEXTS, Proposal

EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
IMPLICIT_LE: Final = "1.2.840.10008.1.2"
DEFLATED_LE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
UNCOMPRESSED: Final = (EXPLICIT_LE, IMPLICIT_LE)
RECODABLE: Final = frozenset({EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE})
"""What `recode` can turn into one of those, losslessly."""

TRANSFER_SYNTAXES: Final = (
    EXPLICIT_LE,
    IMPLICIT_LE,
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.51",  # JPEG Extended (12 bit)
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 lossless
    "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 RPCL lossless
    "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC/H.264 High Profile
    "1.2.840.10008.1.2.4.103",  # the same, BD-compatible
    "1.2.840.10008.1.2.4.100",  # MPEG-2 Main Profile, Main Level
    "1.2.840.10008.1.2.4.101",  # MPEG-2 Main Profile, High Level
    "1.2.840.10008.1.2.4.104",  # MPEG-4 AVC/H.264 for 2D video
    "1.2.840.10008.1.2.4.105",  # MPEG-4 AVC/H.264 for 3D video
    "1.2.840.10008.1.2.4.106",  # MPEG-4 AVC/H.264 stereo
    "1.2.840.10008.1.2.4.107",  # HEVC/H.265 Main
    "1.2.840.10008.1.2.4.108",  # HEVC/H.265 Main 10
    "1.2.840.10008.1.2.4.110",  # JPEG XL lossless
    "1.2.840.10008.1.2.4.111",  # JPEG XL JPEG recompression
    "1.2.840.10008.1.2.4.112",  # JPEG XL
    "1.2.840.10008.1.2.4.92",  # JPEG 2000 multi-component lossless
    "1.2.840.10008.1.2.4.93",  # JPEG 2000 multi-component
    DEFLATED_LE,
    EXPLICIT_BE,
)
"""What an object may be encoded in, the likeliest first."""

COMMON_STORAGE: Final = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX for presentation
    "1.2.840.10008.5.1.4.1.1.1.2",  # MG for presentation
    "1.2.840.10008.5.1.4.1.1.6.1",  # US
    "1.2.840.10008.5.1.4.1.1.3.1",  # US multi-frame
    "1.2.840.10008.5.1.4.1.1.12.1",  # XA
    "1.2.840.10008.5.1.4.1.1.20",  # NM
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # breast tomosynthesis
    "1.2.840.10008.5.1.4.1.1.11.1",  # grayscale softcopy presentation state
    "1.2.840.10008.5.1.4.1.1.88.33",  # comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.22",  # enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.67",  # X-ray radiation dose SR
    "1.2.840.10008.5.1.4.1.1.104.1",  # encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.88.59",  # key object selection
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
)
"""What to be ready for first when the plan could not say which SOP classes will come."""


@cache
def rare_storage() -> tuple[str, ...]:
    """All other standard storage classes."""
    from pynetdicom.presentation import AllStoragePresentationContexts  # slow, and hardly ever needed

    known = (str(context.abstract_syntax) for context in AllStoragePresentationContexts)
    return tuple(uid for uid in known if uid not in COMMON_STORAGE)


_ROOM: Final = MAX_CONTEXTS - 1  # beside the query's own context
_RARE_AT_ONCE: Final = _ROOM // 3  # each in both uncompressed syntaxes, and in one of the others


def rounds_for_get(model: str, sop_class_uids: Collection[str]) -> Iterator[list[Proposal]]:
    """What to propose in one association after the other, until everything that is wanted has come.

    Known classes need one. Unknown ones may need all standard classes, which fit no single association:
    the common ones come first, then the rare ones, then the common ones in each syntax by itself.
    """
    yield for_get(model, sop_class_uids)
    if sop_class_uids:
        return
    rare = rare_storage()
    for start in range(0, len(rare), _RARE_AT_ONCE):
        yield for_get(model, rare[start : start + _RARE_AT_ONCE])
    alone = [
        Proposal(uid, (syntax,), as_scp=True)
        for syntax in TRANSFER_SYNTAXES[_ROOM // len(COMMON_STORAGE) - 1 :]
        for uid in COMMON_STORAGE
    ]
    for start in range(0, len(alone), _ROOM):
        yield [Proposal(model, UNCOMPRESSED), *alone[start : start + _ROOM]]


def for_get(model: str, sop_class_uids: Collection[str]) -> list[Proposal]:
    """The query context, then storage contexts in which we are the SCP, at most 128 in all.

    While there is room each pair of class and syntax has a context of its own. When there isn't, the
    likeliest syntaxes keep theirs and the others share one per class, so that none is missing.
    There is room for `adit.dicom.node.CLASSES_AT_ONCE`.
    """
    classes = sorted(sop_class_uids) or list(COMMON_STORAGE)
    per_class = max(1, min(len(TRANSFER_SYNTAXES), _ROOM // len(classes)))
    groups: list[tuple[str, ...]] = [(syntax,) for syntax in TRANSFER_SYNTAXES[: per_class - 1]]
    groups.append(TRANSFER_SYNTAXES[per_class - 1 :])
    storage = [Proposal(uid, group, as_scp=True) for group in groups for uid in classes]
    return [Proposal(model, UNCOMPRESSED), *storage[:_ROOM]]


def for_store(pairs: Sequence[tuple[str, str]]) -> list[Proposal]:
    """One context for each pair of SOP class and transfer syntax; at most the last 128."""
    return [Proposal(sop_class, (syntax,)) for sop_class, syntax in pairs[-MAX_CONTEXTS:]]
