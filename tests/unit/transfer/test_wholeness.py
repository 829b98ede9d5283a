"""A data set that is certainly cut short or followed by garbage is told from one that is whole, or only odd."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from pydicom import Dataset, Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from adit.deid.element_walk import MalformedError
from adit.dicom.file_meta import read_file_meta
from adit.dicom.payload import MemoryPayload, PayloadWriter, ReceivedInstance, Spool
from adit.transfer.wholeness import Statement, examine
from tests import samples

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
]
BROKEN_FILES = {"MR_truncated.dcm", "rtplan_truncated.dcm"}  # pydicom, too, finds that their bytes end early


def instance_of(data: bytes, transfer_syntax: str) -> ReceivedInstance:
    return ReceivedInstance("1.2.3", "1.2.3.1", "1.2", "1.1", transfer_syntax, MemoryPayload(data))


def encoded(transfer_syntax: str) -> bytes:
    dataset = samples.instance("whole", transfer_syntax=transfer_syntax)
    item = Dataset()
    item.CodeValue = "1"
    item.is_undefined_length_sequence_item = True
    dataset.AnatomicRegionSequence = Sequence([item, Dataset(), item])
    dataset["AnatomicRegionSequence"].is_undefined_length = True
    return samples.encoded(dataset)


@pytest.mark.parametrize("path", samples.pydicom_files(), ids=lambda path: path.name)
def test_what_pydicom_reads_to_its_end_is_whole(path: Path) -> None:
    with path.open("rb") as file:
        meta = read_file_meta(file)
        file.seek(meta.offset)
        instance = instance_of(file.read(), meta.transfer_syntax_uid)
    if path.name in BROKEN_FILES:
        with pytest.raises(MalformedError):
            examine(instance)
    else:
        assert examine(instance).patient_id


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
@pytest.mark.parametrize("cut", [2, 3, 7, 200, 201, -1, -9, -420])
def test_what_is_cut_is_never_whole(transfer_syntax: str, cut: int) -> None:
    data = encoded(transfer_syntax)
    assert examine(instance_of(data, transfer_syntax)).patient_id == b"1001"
    with pytest.raises(MalformedError):
        examine(instance_of(data[:-cut], transfer_syntax))


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_cut_passes_only_between_elements(transfer_syntax: str) -> None:
    data = encoded(transfer_syntax)
    passed = []
    for end in range(len(data)):
        try:
            examine(instance_of(data[:end], transfer_syntax))
        except MalformedError:
            continue
        passed.append(end)
    # Between elements, items or their delimiters; or where less than a header of zeros is left.
    assert len(passed) < 80
    assert 0 not in passed


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless])
@pytest.mark.parametrize("tail", [b"\xde\xad\xbe\xef" * 50, b"x", b"HTTP/1.1 500 Internal Server Error\r\n"])
def test_a_tail_that_is_no_element_is_not_whole(transfer_syntax: str, tail: bytes) -> None:
    with pytest.raises(MalformedError):
        examine(instance_of(encoded(transfer_syntax) + tail, transfer_syntax))


@pytest.mark.parametrize(
    "tail",
    [b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0", bytes(3), bytes(8), b"\xfe\xff\xdd\xe0\0\0\0\0"],
    ids=["DataSetTrailingPadding", "3 zeros", "8 zeros", "a delimiter too many"],
)
def test_odd_ends_are_whole(tail: bytes) -> None:
    assert examine(instance_of(encoded(ExplicitVRLittleEndian) + tail, ExplicitVRLittleEndian)).patient_id == b"1001"


def test_fragments_without_a_delimiter_at_the_end_are_whole() -> None:
    data = encoded(JPEG2000Lossless)
    assert data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    assert examine(instance_of(data[:-8], JPEG2000Lossless)).patient_id == b"1001"


def test_encodings_other_than_the_transfer_syntax_says_are_whole() -> None:
    """Readers go by the first element; GE and others write private elements in their own way."""
    assert examine(instance_of(encoded(ExplicitVRLittleEndian), ImplicitVRLittleEndian)).patient_id == b"1001"
    no_vr = b"\x09\x00\x10\x10\x04\x00\x00\x00abcd"
    data = b"\x08\0\5\0CS\x0a\0ISO_IR 100" + no_vr + b"\x10\0\x20\0LO\4\x001001"
    assert examine(instance_of(data, ExplicitVRLittleEndian)) == Statement(b"1001", b"ISO_IR 100")


@pytest.mark.parametrize("written", [*SYNTAXES, RLELossless])
@pytest.mark.parametrize("said", [*SYNTAXES, RLELossless, "1.2.840.113619.5.2"])
def test_an_encoding_that_the_transfer_syntax_denies_is_seen(written: str, said: str) -> None:
    deflated, big = DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
    if (deflated in (written, said) or big in (written, said)) and written != said:
        return  # nothing of them can be followed
    statement = examine(instance_of(encoded(written), said))
    same = written == said or {written, said} == {JPEG2000Lossless, RLELossless} or said == "1.2.840.113619.5.2"
    assert statement.as_its_syntax_says is same
    assert statement.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"


def test_what_cannot_be_followed_proves_nothing() -> None:
    data = b"\x08\0\5\0CS\x0a\0ISO_IR 100" + b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xffno items here, ever"
    owner = examine(instance_of(data, ExplicitVRLittleEndian))
    assert owner.patient_id is None
    assert not owner.contradicts("1001")


def test_garbage_that_claims_to_be_deflated_is_not_whole() -> None:
    with pytest.raises(MalformedError):
        examine(instance_of(b"\xff" * 100, DeflatedExplicitVRLittleEndian))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    cut = deflater.compress(encoded(ExplicitVRLittleEndian)[:-1]) + deflater.flush()
    with pytest.raises(MalformedError):
        examine(instance_of(cut, DeflatedExplicitVRLittleEndian))


def test_a_spooled_object_is_examined_like_one_in_memory(tmp_path: Path) -> None:
    writer = PayloadWriter(Spool(tmp_path), spool_above=100)
    writer.write(encoded(ExplicitVRLittleEndian)[:-5])
    instance = ReceivedInstance("1.2.3", "1.2.3.1", "1.2", "1.1", ExplicitVRLittleEndian, writer.finish())
    with pytest.raises(MalformedError):
        examine(instance)
    instance.close()


@pytest.mark.parametrize(
    ("value", "charset", "patient_id", "contradicts"),
    [
        (b"1001", b"", "1001", False),
        (b"1001 ", b"", "1001", False),
        (b"1001\0", b"", "1001", False),
        (b" 1001 ", b"", "1001 ", False),
        (b"\xc41", b"ISO_IR 100", "\N{LATIN CAPITAL LETTER A WITH DIAERESIS}1", False),
        (b"\xc3\x841", b"", "\N{LATIN CAPITAL LETTER A WITH DIAERESIS}1", False),
        (b"\xc4 ", b"ISO_IR 126", "\N{GREEK CAPITAL LETTER DELTA}", False),
        (b"9999", b"", "1001", True),
        (b"", b"", "1001", True),
        (b"1001x", b"", "1001", True),
    ],
)
def test_patient_ids_are_compared_without_padding_and_in_their_letters(
    value: bytes, charset: bytes, patient_id: str, contradicts: bool
) -> None:
    assert Statement(value, charset).contradicts(patient_id) is contradicts
