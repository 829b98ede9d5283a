"""Identifiers of queries and fetches: from keys to an encoded data set, from an answer to a Dataset.

Called by `find` and `get`. Keys are encoded as they are given: ranges, wildcards and lists are no
valid values of their VR, so pydicom's conversion must not see them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE

UTF_8: Final = "ISO_IR 192"
_NULL_PADDED: Final = frozenset({"UI"})


def build(keys: Mapping[str, str], returning: Iterable[str] = ()) -> Dataset:
    """A data set of raw elements; keywords in `returning` and empty keys match everything.

    The character set is UTF-8, and said so where a key needs it (PS3.4 C.4.1.1.3.1: not otherwise).
    Raises ValueError for a keyword that the data dictionary doesn't have.
    """
    values = {**dict.fromkeys(returning, ""), **keys}
    if not "".join(values.values()).isascii():
        values["SpecificCharacterSet"] = UTF_8
    identifier = Dataset()
    for keyword, value in values.items():
        number = tag_for_keyword(keyword)
        if number is None:
            raise ValueError(f"{keyword} is not a DICOM keyword")
        vr = dictionary_VR(number)
        encoded = value.encode("utf-8")
        if len(encoded) % 2:
            encoded += b"\0" if vr in _NULL_PADDED else b" "
        identifier[number] = RawDataElement(Tag(number), vr, len(encoded), encoded, 0, False, True, True)
    return identifier


def encode(identifier: Dataset, transfer_syntax: str) -> bytes:
    """In an uncompressed little-endian syntax."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax == IMPLICIT_LE
    buffer.is_little_endian = True
    write_dataset(buffer, identifier)
    return bytes(buffer.getvalue())


def decode(encoded: bytes, transfer_syntax: str) -> Dataset:
    """All values converted, texts by the data set's own Specific Character Set.

    Raises whatever pydicom raises when the bytes are no data set.
    """
    if transfer_syntax == DEFLATED_LE:
        encoded = zlib.decompress(encoded, -zlib.MAX_WBITS)
    answer = read_dataset(BytesIO(encoded), transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
    answer.decode()
    for element in answer.iterall():
        element.value  # noqa: B018 - converts it here, so that no later reader stumbles
    return answer
