"""File meta information as we write it, judged by pydicom and DCMTK's rules; and as others write it."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
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
