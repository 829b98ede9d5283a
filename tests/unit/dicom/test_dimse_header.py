"""An instance is identified by its header in any transfer syntax, however much stands before the UIDs."""

import zlib
from io import BytesIO

import pytest

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.dimse.header import Identity, UnreadableError, identity
from adit.dicom.dimse.recode import recoded
from adit.dicom.payload import MemoryPayload, ReceivedInstance
from tests.samples import encoded, instance

MADE = instance("header")
CONTENT = encoded(MADE)
EXPECTED = Identity(str(MADE.StudyInstanceUID), str(MADE.SeriesInstanceUID), str(MADE.SOPInstanceUID))


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


@pytest.mark.parametrize("content", [b"", b"\xff" * 1000, CONTENT[:50]], ids=["nothing", "noise", "half"])
def test_what_is_no_header_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        identity(BytesIO(content), EXPLICIT_LE)


def test_noise_that_claims_to_be_deflated_is_unreadable() -> None:
    with pytest.raises(UnreadableError):
        identity(BytesIO(b"\xff" * 1000), DEFLATED_LE)
