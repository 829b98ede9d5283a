"""Re-encoding keeps every value's bytes: of real files and of odd ones."""

import warnings
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.dimse.recode import UnreadableError, recoded
from adit.dicom.payload import MemoryPayload, ReceivedInstance
from tests.samples import TEST_FILES, encoded, instance, pydicom_files


def received(content: bytes, syntax: str) -> ReceivedInstance:
    return ReceivedInstance("1.1", "1.2", "1.3", "1.4", syntax, MemoryPayload(content))


def again(content: bytes, source: str, target: str) -> bytes:
    with recoded(received(content, source), target).open() as reader:
        return reader.read()


def values(content: bytes, syntax: str) -> dict[tuple[int, ...], bytes]:
    """Every value's bytes by its path, sequences opened, group lengths and empty sequences left out."""
    found: dict[tuple[int, ...], bytes] = {}

    def walk(dataset: Dataset, path: tuple[int, ...]) -> None:
        for tag, raw in [(tag, dataset.get_item(tag)) for tag in sorted(dataset.keys())]:
            assert raw is not None
            if raw.VR == "SQ" or dataset[tag].VR == "SQ":
                for number, item in enumerate(dataset[tag].value):
                    walk(item, (*path, int(tag), number))
            elif tag.element:
                found[(*path, int(tag))] = raw.value or b""

    walk(read_dataset(BytesIO(content), syntax == IMPLICIT_LE, syntax != EXPLICIT_BE), ())
    return found


def uncompressed_files() -> list[Path]:
    files = []
    for path in pydicom_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            syntax = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta.TransferSyntaxUID
        if syntax in (EXPLICIT_LE, IMPLICIT_LE):
            files.append(path)
    return files


def body(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    meta_length = int.from_bytes(content[140:144], "little")
    syntax = str(dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta.TransferSyntaxUID)
    return content[144 + meta_length :], syntax


@pytest.mark.parametrize("path", uncompressed_files(), ids=lambda path: path.name)
def test_a_real_file_keeps_every_value_in_either_syntax(path: Path) -> None:
    content, syntax = body(path)
    expected = values(content, syntax)
    for target in (IMPLICIT_LE, EXPLICIT_LE):
        assert values(again(content, syntax, target), target) == expected


def test_pixels_and_what_follows_them_pass_in_pieces_and_unchanged() -> None:
    made = instance("big", size=600)
    made.add_new(0xFFFCFFFC, "OB", b"\0" * 10)
    content = encoded(made)
    implicit = again(content, EXPLICIT_LE, IMPLICIT_LE)
    read = read_dataset(BytesIO(implicit), True, True)
    assert read.PixelData == made.PixelData
    assert read[0xFFFCFFFC].value == b"\0" * 10
    assert again(implicit, IMPLICIT_LE, EXPLICIT_LE) == content


def test_deflated_is_inflated() -> None:
    content = encoded(instance("deflated", size=300))
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = squeezer.compress(content) + squeezer.flush()
    assert again(deflated, DEFLATED_LE, EXPLICIT_LE) == content
    assert again(deflated, DEFLATED_LE, IMPLICIT_LE) == again(content, EXPLICIT_LE, IMPLICIT_LE)


@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE])
def test_big_endian_numbers_are_turned_round(target: str) -> None:
    big, little = TEST_FILES / "MR_small_bigendian.dcm", TEST_FILES / "MR_small.dcm"
    content, syntax = body(big)
    assert syntax == EXPLICIT_BE
    turned = again(content, syntax, target)
    read = read_dataset(BytesIO(turned), target == IMPLICIT_LE, True)
    expected = dcmread(little)
    assert read.PixelData == expected.PixelData
    assert (read.Rows, read.Columns, read.BitsAllocated) == (expected.Rows, expected.Columns, 16)
    assert read.PatientName == expected.PatientName


def test_private_elements_and_a_long_decimal_string_survive_the_way_to_explicit() -> None:
    made = instance("private")
    block = made.private_block(0x0011, "ADIT TEST", create=True)
    block.add_new(0x01, "UN", b"\1\2\3\4")
    made.add_new(0x30060050, "DS", ["1.5"] * 30_000)  # ContourData: longer than an explicit DS can say
    implicit = again(encoded(instance("plain")), EXPLICIT_LE, IMPLICIT_LE)
    assert values(implicit, IMPLICIT_LE)
    made["ContourData"].VR = "UN"
    made["ContourData"].value = b"\\".join([b"1.5"] * 30_000) + b" "
    in_between = again(encoded(made), EXPLICIT_LE, IMPLICIT_LE)
    back = again(in_between, IMPLICIT_LE, EXPLICIT_LE)
    assert values(back, EXPLICIT_LE) == values(encoded(made), EXPLICIT_LE)


@pytest.mark.parametrize("content", [b"garbage", encoded(instance("short"))[:-7]], ids=["garbage", "cut short"])
def test_what_is_no_data_set_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        again(content, EXPLICIT_LE, IMPLICIT_LE)


@pytest.mark.parametrize("length", [None, 80], ids=["undefined", "defined"])
@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE])
def test_what_would_be_too_many_objects_is_refused(
    length: int | None, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = instance("many")
    made.RequestAttributesSequence = [Dataset()]
    made.RequestAttributesSequence[0].ScheduledProtocolCodeSequence = [Dataset() for _ in range(300)]
    made["RequestAttributesSequence"].is_undefined_length = length is None
    content = encoded(made)
    if syntax == IMPLICIT_LE:
        content = again(content, EXPLICIT_LE, IMPLICIT_LE)
    few = again(content, syntax, EXPLICIT_LE)
    monkeypatch.setattr("adit.dicom.dimse.recode._MOST", 320)
    with pytest.raises(UnreadableError, match="more than 320"):
        again(content, syntax, EXPLICIT_LE)
    monkeypatch.setattr("adit.dicom.dimse.recode._MOST", 400)
    assert again(content, syntax, EXPLICIT_LE) == few
