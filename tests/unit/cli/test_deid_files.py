"""From file to file, whatever the sizes of header, file meta information and pixels: the bytes are the engine's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adit.cli import deid_files
from adit.cli.deid_files import deidentify
from adit.dicom.file_meta import encoded_file_meta
from tests.unit.deid.engine.encoded import CT, Element, encode, engine, instance, syntax


def written(tmp_path: Path, elements: list[Element], meta: bytes = b"") -> None:
    """Holds what is in the new file to what the engine makes of the data set."""
    data = encode(elements)
    source, target = tmp_path / "original", tmp_path / "new"
    source.write_bytes(encoded_file_meta(CT, "1.2.3", syntax(False)) + meta + data)
    made = deidentify(source, target, engine())
    expected = engine().treat(data, syntax(False))
    [file] = [each for each in target.rglob("*") if each.is_file()]
    assert file.name == f"{made.sop_instance_uid}.dcm"
    head = encoded_file_meta(made.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid)
    assert file.read_bytes() == head + b"".join(expected.pieces())


@pytest.mark.parametrize("size", [2**12, 2**14, 2**17, 2**18, 2**20])
def test_a_header_of_any_length(tmp_path: Path, size: int) -> None:
    written(tmp_path, instance(Element(0x00282000, "OB", os.urandom(size)), Element(0x00290010, "LO", b"nobody")))


@pytest.mark.parametrize("size", [2**14, 2**17])
def test_long_file_meta_information(tmp_path: Path, size: int) -> None:
    private = encode([Element(0x00020102, "OB", os.urandom(size))])
    written(tmp_path, instance(), private)


@pytest.mark.parametrize("rows", [1, 700, 3_000])
def test_pixels_of_any_length(tmp_path: Path, rows: int) -> None:
    size = rows.to_bytes(2, "little")
    pixels = Element(0x7FE00010, "OW", os.urandom(rows * 1_000 * 2))
    columns = Element(0x00280011, "US", (1_000).to_bytes(2, "little"))
    written(tmp_path, instance(Element(0x00280010, "US", size), columns, pixels))


def test_more_pieces_than_one_call_takes(tmp_path: Path) -> None:
    pieces = [b"%d " % number for number in range(5_000)]
    with (tmp_path / "file").open("wb") as file:
        made = engine().treat(encode(instance()), syntax(False))
        object.__setattr__(made, "parts", tuple(pieces))
        deid_files._write_parts(made, file.fileno(), -1)
    assert (tmp_path / "file").read_bytes().endswith(b"".join(pieces))


def test_an_original_that_shrinks_meanwhile_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "original"
    pixels = Element(0x7FE00010, "OW", bytes(200_000))
    size = [Element(0x00280010, "US", b"\x64\0"), Element(0x00280011, "US", b"\xe8\3")]
    data = encode(instance(*size, pixels))
    source.write_bytes(encoded_file_meta(CT, "1.2.3", syntax(False)) + data)
    write = deid_files._write

    def shrunk(*given: object) -> None:
        os.truncate(source, 100_000)
        write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(deid_files, "_write", shrunk)
    with pytest.raises(OSError, match="shorter"):
        deidentify(source, tmp_path / "new", engine())
    assert [each for each in (tmp_path / "new").rglob("*") if each.is_file()] == []
