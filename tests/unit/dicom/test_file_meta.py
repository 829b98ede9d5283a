"""File meta information as we write it, judged by pydicom and DCMTK's rules; and as others write it."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from adit.dicom.file_meta import FileMeta, NotDicomError, encoded_file_meta, read_file_meta
from adit.dicom.folder.header import UnreadableError, read_header
from tests import samples

DATA = samples.encoded(samples.instance("a"))


def test_what_we_write_is_read_by_pydicom_and_by_us() -> None:
    head = encoded_file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.03.4", ExplicitVRLittleEndian)
    meta = dcmread(BytesIO(head + DATA)).file_meta
    assert meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert meta.MediaStorageSOPInstanceUID == "1.2.03.4"
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert meta.ImplementationClassUID.startswith("2.25.")
    read = read_file_meta(BytesIO(head + DATA))
    assert read == FileMeta(ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.2", "1.2.03.4", len(head))


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("ExplVR_BigEndNoMeta.dcm", ExplicitVRBigEndian),
        ("ExplVR_LitEndNoMeta.dcm", ExplicitVRLittleEndian),
        ("rtplan.dcm", ImplicitVRLittleEndian),
    ],
)
def test_files_with_and_without_a_preamble_are_read(name: str, syntax: str) -> None:
    with (samples.TEST_FILES / name).open("rb") as file:
        meta = read_file_meta(file)
        assert meta.transfer_syntax_uid == syntax
        file.seek(meta.offset)
        header = read_header(file, meta.transfer_syntax_uid, ("SOPClassUID", "SOPInstanceUID", "PatientName"))
    assert len(header.dataset) > 0


@pytest.mark.parametrize("path", samples.pydicom_files(), ids=lambda path: path.name)
def test_the_data_set_begins_where_pydicom_finds_it(path: object) -> None:
    assert isinstance(path, type(samples.TEST_FILES))
    whole = dcmread(path, stop_before_pixels=True)
    with path.open("rb") as file:
        meta = read_file_meta(file)
        file.seek(meta.offset)
        header = read_header(file, meta.transfer_syntax_uid, ("SOPInstanceUID", "PatientID", "PatientName"))
    assert meta.transfer_syntax_uid == whole.file_meta.TransferSyntaxUID
    assert header.text("SOPInstanceUID") == whole.SOPInstanceUID
    assert header.text("PatientName") == str(whole.get("PatientName", ""))
    assert header.truncated is ("truncated" in path.name)


def test_a_header_of_nothing_but_items_takes_no_memory() -> None:
    at = DATA.index(b"\x10\0\x10\0PN")
    items = b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 50_000 + b"\xfe\xff\xdd\xe0" + bytes(4)
    content = BytesIO(DATA[:at] + items + DATA[at:])
    read_header(BytesIO(DATA), ExplicitVRLittleEndian, ("SOPInstanceUID",))  # what is imported by it
    tracemalloc.start()
    try:
        header = read_header(content, ExplicitVRLittleEndian, ("SOPInstanceUID", "PatientName"))
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()
    assert header.text("PatientName") == "Apple^Annie"
    assert not header.truncated


def test_a_header_beyond_all_bounds_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adit.dicom.folder.header._MOST", 1000)
    endless = b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 1001
    with pytest.raises(UnreadableError, match="more than 1000 elements and items"):
        read_header(BytesIO(endless), ExplicitVRLittleEndian, ())


def test_a_value_beyond_all_bounds_is_named_so() -> None:
    dataset = samples.instance("a")
    dataset.PatientComments = "x" * 65_000
    dataset.add_new("TextValue", "UT", "y" * 70_000)
    content = samples.encoded(dataset)
    assert read_header(BytesIO(content), ExplicitVRLittleEndian, ("PatientID",)).text("PatientID")
    with pytest.raises(UnreadableError, match="TextValue"):
        read_header(BytesIO(content), ExplicitVRLittleEndian, ("TextValue",))


@pytest.mark.parametrize("undefined", [True, False])
def test_a_sequence_that_is_asked_for_is_read_with_all_that_is_in_it(undefined: bool) -> None:
    dataset, item, code = samples.instance("a"), Dataset(), Dataset()
    code.CodeMeaning, item.ScheduledProcedureStepID = "Chest", "7"
    item.ScheduledProtocolCodeSequence = [code]
    dataset.RequestAttributesSequence = [item, Dataset()]
    dataset["RequestAttributesSequence"].is_undefined_length = undefined
    file = BytesIO(samples.encoded(dataset))
    header = read_header(file, ExplicitVRLittleEndian, ("RequestAttributesSequence", "PatientID"))
    assert header.dataset.RequestAttributesSequence == dataset.RequestAttributesSequence
    assert header.dataset.PatientID == dataset.PatientID
    assert not header.truncated


@given(st.binary(max_size=400))
def test_garbage_is_named_so(data: bytes) -> None:
    for file in (BytesIO(data), BytesIO(bytes(128) + b"DICM" + data)):
        try:
            meta = read_file_meta(file)
            file.seek(meta.offset)
            header = read_header(file, meta.transfer_syntax_uid, ("SOPInstanceUID",))
        except (NotDicomError, UnreadableError):
            continue
        assert isinstance(header.text("SOPInstanceUID"), str)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_cut_within_its_pixels_is_seen(cut: int) -> None:
    for dataset in (samples.instance("a"), samples.instance("b", transfer_syntax="1.2.840.10008.1.2.4.90", frames=2)):
        data = samples.encoded(dataset)
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        assert not read_header(BytesIO(data), syntax, ()).truncated
        assert read_header(BytesIO(data[:-cut]), syntax, ()).truncated
