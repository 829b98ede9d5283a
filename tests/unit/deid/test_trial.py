"""The trial's stamp: two elements more, every other byte as it was."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from adit.deid.splice import Edit, SplicedInstance, spliced
from adit.deid.trial import stamp
from adit.model.outcome import FaultCode, TransferFault
from adit.model.transfer_job import Trial
from tests import samples

TRIAL = Trial(protocol_id="STROKE", protocol_name="Stroke CT")


@dataclass
class Encoded:
    """An instance in memory; fits `adit.dicom.node.Instance`."""

    data: bytes
    transfer_syntax_uid: str
    study_instance_uid: str = "1.2"
    series_instance_uid: str = "1.2.3"
    sop_class_uid: str = "1.2.4"
    sop_instance_uid: str = "1.2.3.4"

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def of_file(path: Path) -> Encoded:
    data = path.read_bytes()
    meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
    at = 132
    while data[at : at + 2] == b"\2\0":  # group 0002
        long = data[at + 4 : at + 6] == b"OB"
        length = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
        at += (12 if long else 8) + length
    return Encoded(data[at:], str(meta.TransferSyntaxUID))


def of_dataset(dataset: Dataset) -> Encoded:
    return Encoded(samples.encoded(dataset), str(dataset.file_meta.TransferSyntaxUID))


def content(instance: SplicedInstance) -> bytes:
    with instance.open() as reader:
        data = reader.read()
    assert len(data) == instance.size
    return data


def plain(data: bytes, transfer_syntax: str) -> bytes:
    """Without the deflation."""
    return zlib.decompress(data, -zlib.MAX_WBITS) if transfer_syntax == DeflatedExplicitVRLittleEndian else data


def parsed(data: bytes, transfer_syntax: str) -> Dataset:
    meta = samples.instance("meta", transfer_syntax=transfer_syntax).file_meta
    dataset = Dataset()
    dataset.file_meta = meta
    head = samples.part10(dataset)
    return dcmread(io.BytesIO(head + data))


def expected_elements(syntax: str) -> bytes:
    big = syntax == ExplicitVRBigEndian
    implicit = syntax == "1.2.840.10008.1.2"
    made = b""
    for number, value in ((0x0020, b"STROKE"), (0x0021, b"Stroke CT ")):
        order = "big" if big else "little"
        made += (0x0012).to_bytes(2, order) + number.to_bytes(2, order)  # type: ignore[arg-type]
        made += len(value).to_bytes(4, "little") if implicit else b"LO" + len(value).to_bytes(2, order)  # type: ignore[arg-type]
        made += value
    return made


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about its own odd test files
@pytest.mark.parametrize("path", samples.pydicom_files(), ids=lambda path: path.name)
def test_every_file_keeps_every_byte_and_gets_two_elements(path: Path) -> None:
    original = of_file(path)
    syntax = original.transfer_syntax_uid
    before, after = plain(original.data, syntax), plain(content(stamp(original, TRIAL)), syntax)
    new = expected_elements(syntax)
    at = after.index(new)
    assert after[:at] + after[at + len(new) :] == before
    dataset = parsed(content(stamp(original, TRIAL)), syntax)
    assert (dataset.ClinicalTrialProtocolID, dataset.ClinicalTrialProtocolName) == ("STROKE", "Stroke CT")
    tags = list(dataset._dict)  # in the order of the bytes
    assert tags == sorted(tags)


def test_a_second_stamp_replaces_the_first() -> None:
    once = stamp(of_dataset(samples.instance("a")), TRIAL)
    first = Encoded(content(once), ExplicitVRLittleEndian)
    assert content(stamp(first, TRIAL)) == first.data
    other = parsed(content(stamp(first, Trial(protocol_id="A LONGER ONE"))), ExplicitVRLittleEndian)
    assert (other.ClinicalTrialProtocolID, other.ClinicalTrialProtocolName) == ("A LONGER ONE", "Stroke CT")


def test_the_groups_own_length_stays_right() -> None:
    dataset = samples.instance("a")
    dataset.ClinicalTrialSubjectID = "S-1 "
    data = samples.encoded(dataset)
    at = data.index(b"\x12\0\x40\0LO\4\0S-1 ")
    data = data[:at] + b"\x12\0\0\0UL\4\0" + (12).to_bytes(4, "little") + data[at:]
    stamped = content(stamp(Encoded(data, ExplicitVRLittleEndian), TRIAL))
    length = int.from_bytes(stamped[at + 8 : at + 12], "little")
    assert stamped[at + 12 + length :] == data[at + 24 :]
    assert length == 12 + len(expected_elements(ExplicitVRLittleEndian))


def test_sequences_of_undefined_length_before_the_place_are_passed() -> None:
    inner = Dataset()
    inner.ClinicalTrialProtocolID = "not this one"
    inner.is_undefined_length_sequence_item = True
    dataset = samples.instance("a")
    dataset.ReferencedStudySequence = [inner, inner]
    dataset["ReferencedStudySequence"].is_undefined_length = True
    after = parsed(content(stamp(of_dataset(dataset), TRIAL)), ExplicitVRLittleEndian)
    assert after.ClinicalTrialProtocolID == "STROKE"
    assert [item.ClinicalTrialProtocolID for item in after.ReferencedStudySequence] == ["not this one"] * 2


def test_a_data_set_that_ends_before_the_place_gets_them_at_its_end() -> None:
    dataset = parsed(
        content(stamp(Encoded(b"\x08\0\x60\0CS\2\0CT", ExplicitVRLittleEndian), TRIAL)), ExplicitVRLittleEndian
    )
    assert (dataset.Modality, dataset.ClinicalTrialProtocolName) == ("CT", "Stroke CT")


def test_text_is_written_in_the_instances_own_character_set() -> None:
    trial = Trial(protocol_name="Schlaganfall Köln")
    latin = samples.instance("a", charset="ISO_IR 100")
    utf8 = samples.instance("b", charset="ISO_IR 192")
    for dataset in (latin, utf8):
        after = parsed(content(stamp(of_dataset(dataset), trial)), ExplicitVRLittleEndian)
        assert after.ClinicalTrialProtocolName == "Schlaganfall Köln"


@pytest.mark.parametrize("charset", [None, "ISO_IR 126", ["", "ISO 2022 IR 87"], "NO SUCH SET"])
def test_text_that_does_not_fit_is_refused_by_name(charset: str | list[str] | None) -> None:
    data = samples.encoded(samples.instance("a", charset=charset if charset != "NO SUCH SET" else "ISO_IR 100"))
    if charset == "NO SUCH SET":
        data = data.replace(b"ISO_IR 100", b"ISO_IR 999")
    with pytest.raises(TransferFault) as caught:
        stamp(Encoded(data, ExplicitVRLittleEndian), Trial(protocol_name="Schlaganfall Köln"))
    fault = caught.value.fault
    assert (fault.code, fault.sop_instance_uid) == (FaultCode.INSTANCE_REFUSED, "1.2.3.4")
    assert "protocolName" in fault.message
    assert "ASCII" in fault.cure


@pytest.mark.parametrize("cut", [3, 9, 30, 101])
def test_a_header_that_ends_early_is_unreadable(cut: int) -> None:
    data = samples.encoded(samples.instance("a"))[:cut]
    with pytest.raises(TransferFault) as caught:
        stamp(Encoded(data, ExplicitVRLittleEndian), TRIAL)
    assert caught.value.fault.code is FaultCode.INSTANCE_UNREADABLE


def test_a_broken_deflated_stream_is_unreadable() -> None:
    data = zlib.compress(samples.encoded(samples.instance("a")), wbits=-zlib.MAX_WBITS)
    for broken in (data[: len(data) // 2], b"\xff" + data):
        with pytest.raises(TransferFault) as caught:
            stamp(Encoded(broken, DeflatedExplicitVRLittleEndian), TRIAL)
        assert caught.value.fault.code is FaultCode.INSTANCE_UNREADABLE


@given(st.binary(max_size=300))
def test_garbage_is_unreadable_or_keeps_its_bytes(data: bytes) -> None:
    code: FaultCode | None = None
    try:
        after = content(stamp(Encoded(data, ExplicitVRLittleEndian), TRIAL))
    except TransferFault as refused:
        code = refused.fault.code
    else:
        assert expected_elements(ExplicitVRLittleEndian) in after
    assert code in (None, FaultCode.INSTANCE_UNREADABLE)


class Big:
    """64 MiB of pixels behind a small header, made as they are read."""

    def __init__(self) -> None:
        self.head = samples.encoded(samples.instance("big", size=2))
        self.transfer_syntax_uid = str(ExplicitVRLittleEndian)
        self.study_instance_uid = self.series_instance_uid = self.sop_class_uid = self.sop_instance_uid = "1.2"
        self.size = len(self.head) + 64 * 2**20

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Endless(self.head))


class _Endless(io.RawIOBase):
    def __init__(self, head: bytes) -> None:
        self._head, self._at = head, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head[self._at : self._at + len(buffer)] or bytes(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def test_memory_does_not_grow_with_the_instance() -> None:
    big = Big()
    tracemalloc.start()
    try:
        instance, read = stamp(big, TRIAL), 0
        with instance.open() as reader:
            while piece := reader.read(2**20):
                read += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == instance.size
    assert peak < 8 * 2**20


def edits_of(size: int, cuts: list[tuple[int, int, bytes]]) -> Iterator[Edit]:
    at = 0
    for gap, length, data in cuts:
        start = min(size, at + gap)
        end = min(size, start + length)
        yield Edit(start, end, data)
        at = end


@settings(max_examples=200)
@given(
    st.binary(max_size=60),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.binary(max_size=10)), max_size=4),
    st.integers(0, 80),
    st.booleans(),
)
def test_a_spliced_reader_reads_as_the_bytes_would(
    data: bytes, cuts: list[tuple[int, int, bytes]], position: int, deflated: bool
) -> None:
    edits = list(edits_of(len(data), cuts))
    expected = data
    for edit in reversed(edits):
        expected = expected[: edit.start] + edit.data + expected[edit.end :]
    if deflated:
        packed = zlib.compress(data, wbits=-zlib.MAX_WBITS)
        instance = spliced(Encoded(packed, DeflatedExplicitVRLittleEndian), edits, deflated=True)
        assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(content(instance)) == expected
        assert instance.size % 2 == 0
        return
    instance = spliced(Encoded(data, ExplicitVRLittleEndian), edits, deflated=False)
    assert content(instance) == expected
    with instance.open() as reader:
        reader.seek(position)
        assert reader.read(7) == expected[position : position + 7]
        reader.seek(-min(3, len(expected)), io.SEEK_END)
        assert reader.read() == expected[-3:]
