"""Data sets as a peer sends them when nothing about them is special, read without pydicom.

Called by `identifier` for each answer and by `header` for each instance. Reads Little Endian, explicit or implicit,
and refuses (NotPlain) whatever needs more than a glance: the callers then have pydicom look at it. So it need not
know everything, but what it says must be what pydicom says; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from struct import Struct
from typing import Final

_HEADER: Final = Struct("<HH2sH")
LONG_VRS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_DELIMITERS: Final = 0xFFFE


class NotPlain(Exception):  # noqa: N818 - a judgement, not a mistake
    """This is for pydicom to read."""


def elements(encoded: bytes, *, implicit: bool, only: Container[int] | None = None) -> Iterator[tuple[int, str, bytes]]:
    """Tag, VR (empty where none is written) and value of each element, or of those in `only`, in ascending order.

    Raises NotPlain at the first that is cut short, out of order, of undefined length or of an unknown VR.
    """
    position, end, last, header_of = 0, len(encoded), -1, _HEADER.unpack_from
    while position < end:  # hundreds of times for each instance that is received
        if end - position < 8:
            raise NotPlain
        group, number, vr, length = header_of(encoded, position)
        if implicit:
            if not position and vr.isalpha() and vr.isupper():
                raise NotPlain  # written with VRs, against its transfer syntax
            length, vr, value = int.from_bytes(encoded[position + 4 : position + 8], "little"), b"", position + 8
        elif vr in SHORT_VRS:
            value = position + 8
        elif vr in LONG_VRS and end - position >= 12:
            length, value = int.from_bytes(encoded[position + 8 : position + 12], "little"), position + 12
        else:
            raise NotPlain
        tag, position = group << 16 | number, value + length
        if tag <= last or position > end or group == _DELIMITERS:  # an undefined length is longer than everything
            raise NotPlain
        if only is None or tag in only:
            yield tag, vr.decode("ascii"), encoded[value:position]
        last = tag
