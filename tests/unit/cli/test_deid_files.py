"""From file to file, whatever the sizes of header, file meta information and pixels: the bytes are the engine's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.cli import deid_files
from adit.cli.deid_files import SeveralPatientsError, deidentified
from adit.deid.engine.deidentified import Deidentified
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, encoded_file_meta
from tests.unit.deid.engine.encoded import CT, Element, encode, engine, instance, syntax

DIRECTORY = "1.2.840.10008.1.3.10"


def one(source: Path, target: Path) -> Deidentified:
    [(_, result)] = deidentified([source], target, engine())
    if isinstance(result, Deidentified):
        return result
    raise result


def written(tmp_path: Path, elements: list[Element], meta: bytes = b"") -> None:
    """Holds what is in the new file to what the engine makes of the data set."""
    data = encode(elements)
    source, target = tmp_path / "original", tmp_path / "new"
    source.write_bytes(encoded_file_meta(CT, "1.2.3", syntax(False)) + meta + data)
    made = one(source, target)
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
        deid_files._write_parts(made, file.fileno(), -1, memoryview(b""))
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
        one(source, tmp_path / "new")
    assert [each for each in (tmp_path / "new").rglob("*") if each.is_file()] == []


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def file(folder: Path, number: int, patient_id: bytes = b"MRN-990017", *more: Element) -> Path:
    uid = Element(0x00080018, "UI", b"1.2.3.4.%d" % number)
    path = folder / f"{number:03}"
    path.write_bytes(
        encoded_file_meta(CT, "1.2.3", syntax(False)) + encode(instance(uid, *more, patient_id=patient_id))
    )
    return path


def test_each_of_many_is_told_in_its_turn(tmp_path: Path) -> None:
    """More than are treated together, of which one is no DICOM, one is damaged, one is there twice, one is big."""
    paths = [file(tmp_path, number) for number in range(40)]
    paths[3].write_text("no DICOM")
    paths[17].write_bytes(paths[17].read_bytes()[:-4])
    paths[20].write_bytes(paths[19].read_bytes())
    paths[21] = tmp_path / "nowhere"
    big = Element(0x00282000, "OB", os.urandom(5 * 2**20))
    file(tmp_path, 30, b"MRN-990017", big)
    results = dict(deidentified(paths, tmp_path / "new", engine()))
    assert list(results) == paths
    failed = {path: type(each) for path, each in results.items() if not isinstance(each, Deidentified)}
    kinds = [NotDicomError, Quarantine, Quarantine, FileNotFoundError]
    assert list(failed.items()) == list(zip([paths[3], paths[17], paths[20], paths[21]], kinds, strict=True))
    for path in set(paths) - set(failed):
        one(path, tmp_path / "alone")
    assert files(tmp_path / "new") == files(tmp_path / "alone")


def test_what_says_that_it_is_dicom_is_never_passed_by(tmp_path: Path) -> None:
    """A file that ends within its file meta information, or lists others, is refused with its reason."""
    whole = file(tmp_path, 1).read_bytes()
    paths = []
    for number, data in enumerate(
        (
            whole[:132],
            whole[:140],
            whole[:200],
            bytes(128) + b"DICM",
            encoded_file_meta(DIRECTORY, "1.2", syntax(False)),
        )
    ):
        paths.append(tmp_path / f"damaged{number}")
        paths[-1].write_bytes(data + (encode(instance()) if number == 4 else b""))
    results = [each for _, each in deidentified(paths, tmp_path / "new", engine())]
    assert [type(each) for each in results] == [Quarantine] * 5
    assert "DICOMDIR" in str(results[-1])
    assert not (tmp_path / "new").exists()


def test_of_a_second_patient_nothing_is_written(tmp_path: Path) -> None:
    paths = [file(tmp_path, number, b"FIRST" if number < 5 else b"SECOND") for number in range(10)]
    results = [each for _, each in deidentified(paths, tmp_path / "new", engine(), pseudonym="P-1")]
    assert [isinstance(each, SeveralPatientsError) for each in results] == [False] * 5 + [True] * 5
    assert len(list((tmp_path / "new").rglob("*.dcm"))) == 5


def test_who_stops_in_between_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    paths = [file(tmp_path, number) for number in range(10)]
    results = deidentified(paths, tmp_path / "new", engine())
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert len(list((tmp_path / "new").rglob("*.dcm"))) == 1


def test_a_file_that_changes_while_it_is_treated_is_refused(tmp_path: Path) -> None:
    """Its pixels are read when others were treated meanwhile: now another patient's header lies there."""
    paths = [file(tmp_path, number) for number in range(3)]
    changed = paths[0].read_bytes()

    def waiting() -> Iterator[Path]:
        yield from paths[:2]
        with paths[0].open("r+b") as again:
            again.write((encode(instance()) * 20)[: len(changed)].rjust(len(changed), b"\0"))
        os.utime(paths[0], ns=(1, 1))  # clocks of file systems may be coarse
        yield paths[2]

    results = dict(deidentified(waiting(), tmp_path / "new", engine()))
    assert isinstance(refused := results[paths[0]], Quarantine)
    assert refused.reason is Reason.CHANGED
    assert [type(results[path]) for path in paths[1:]] == [Deidentified] * 2
    assert len([each for each in (tmp_path / "new").rglob("*") if each.is_file()]) == 2
