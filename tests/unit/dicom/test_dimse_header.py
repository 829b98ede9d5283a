"""An instance is identified by its header in any transfer syntax, however much stands before the UIDs."""

import tracemalloc
import zlib
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.dimse.header import Identity, UnreadableError, identity
from adit.dicom.dimse.recode import recoded
from adit.dicom.payload import MemoryPayload, ReceivedInstance
from tests.samples import encoded, instance

MADE = instance("header")
CONTENT = encoded(MADE)
EXPECTED = Identity(
    str(MADE.StudyInstanceUID), str(MADE.SeriesInstanceUID), str(MADE.SOPInstanceUID), str(MADE.SOPClassUID)
)


def test_explicit() -> None:
    assert identity(BytesIO(CONTENT), EXPLICIT_LE) == EXPECTED


def test_implicit() -> None:
    source = ReceivedInstance("", "", "", "", EXPLICIT_LE, MemoryPayload(CONTENT))
    with recoded(source, IMPLICIT_LE).open() as reader:
        assert identity(reader, IMPLICIT_LE) == EXPECTED


def test_deflated() -> None:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert identity(BytesIO(squeezer.compress(CONTENT) + squeezer.flush()), DEFLATED_LE) == EXPECTED


def test_behind_a_big_private_block() -> None:
    big = instance("header")
    big.private_block(0x0009, "ADIT TEST", create=True).add_new(0x01, "OB", bytes(1_000_000))
    assert identity(BytesIO(encoded(big)), EXPLICIT_LE) == EXPECTED


def nested(length: int | None) -> bytes:
    """A sequence of three levels, each with its length, or with none that is defined."""
    content = b"\x08\0\x18\0UI\x04\0" + b"9.9\0" + b"\x08\0\x50\x11" + b"\x02\0\0\0" + b"xx"
    for _ in range(3):
        size, item_end, end = len(content).to_bytes(4, "little"), b"", b""
        if length is None:
            size = b"\xff" * 4
            item_end, end = b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
        items = 2 * (b"\xfe\xff\0\xe0" + size + content + item_end)
        whole = size if length is None else len(items).to_bytes(4, "little")
        content = b"\x08\0\x40\x11SQ\0\0" + whole + items + end
    return content


@pytest.mark.parametrize("length", [None, 0], ids=["undefined", "defined"])
@pytest.mark.parametrize("vr", [b"SQ", b"UN"])
def test_behind_nested_sequences(length: int | None, vr: bytes) -> None:
    at = CONTENT.index(b"\x10\0\x10\0PN")  # behind all of group 0008
    content = CONTENT[:at] + nested(length).replace(b"\x40\x11SQ", b"\x40\x11" + vr, 1) + CONTENT[at:]
    assert identity(BytesIO(content), EXPLICIT_LE) == EXPECTED


def test_big_endian() -> None:
    header = instance("header")
    del header.PixelData
    buffer = DicomBytesIO()
    buffer.is_little_endian = buffer.is_implicit_VR = False
    write_dataset(buffer, header)
    assert identity(BytesIO(buffer.getvalue()), EXPLICIT_BE) == EXPECTED


def test_written_with_vrs_although_the_transfer_syntax_has_none() -> None:
    assert identity(BytesIO(CONTENT), IMPLICIT_LE) == EXPECTED


def test_a_header_of_nothing_but_items_takes_no_memory() -> None:
    at = CONTENT.index(b"\x10\0\x10\0PN")
    items = b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 50_000 + b"\xfe\xff\xdd\xe0" + bytes(4)
    content = CONTENT[:at] + items + CONTENT[at:]
    tracemalloc.start()
    try:
        assert identity(BytesIO(content), EXPLICIT_LE) == EXPECTED
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content)
    finally:
        tracemalloc.stop()


def test_a_header_that_does_not_end_is_given_up() -> None:
    with pytest.raises(UnreadableError):
        identity(BytesIO(b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 1_000_001), EXPLICIT_LE)


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_header_without_one_of_the_uids_names_it(missing: str) -> None:
    made = instance("header")
    content = encoded(made)
    tag = {"SOPInstanceUID": b"\x08\x00\x18\x00", "StudyInstanceUID": b"\x20\x00\x0d\x00"}.get(
        missing, b"\x20\x00\x0e\x00"
    )
    start = content.index(tag + b"UI")
    end = start + 8 + int.from_bytes(content[start + 6 : start + 8], "little")
    with pytest.raises(UnreadableError, match=missing):
        identity(BytesIO(content[:start] + content[end:]), EXPLICIT_LE)


def test_a_header_without_a_class_says_so() -> None:
    classless = instance("header")
    del classless.SOPClassUID
    assert identity(BytesIO(encoded(classless)), EXPLICIT_LE) == replace(EXPECTED, sop_class_uid="")


@pytest.mark.parametrize("content", [b"", b"\xff" * 1000, CONTENT[:50]], ids=["nothing", "noise", "half"])
def test_what_is_no_header_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        identity(BytesIO(content), EXPLICIT_LE)


def test_noise_that_claims_to_be_deflated_is_unreadable() -> None:
    with pytest.raises(UnreadableError):
        identity(BytesIO(b"\xff" * 1000), DEFLATED_LE)
