"""A payload reads the same wherever it lives, and leaves nothing behind."""

from pathlib import Path

import pytest

from adit.dicom.payload import MemoryPayload, PayloadWriter, Spool, SpooledPayload

CONTENT = bytes(range(256)) * 64


def written(spool: Path, spool_above: int) -> PayloadWriter:
    writer = PayloadWriter(Spool(spool), spool_above)
    for start in range(0, len(CONTENT), 1000):
        writer.write(memoryview(CONTENT)[start : start + 1000])
    return writer


@pytest.mark.parametrize("spool_above", [0, 5000, len(CONTENT), 10**9])
def test_what_was_written_is_read_by_several_readers_at_once(tmp_path: Path, spool_above: int) -> None:
    writer = written(tmp_path, spool_above)
    payload = writer.finish()
    assert isinstance(payload, SpooledPayload if spool_above < len(CONTENT) else MemoryPayload)
    assert payload.size == len(CONTENT)
    with payload.open() as first, payload.open() as second:
        assert first.read(5000) == CONTENT[:5000]
        assert second.read() == CONTENT
        assert first.read() == CONTENT[5000:]
        first.seek(-10, 2)
        assert first.read() == CONTENT[-10:]
        first.seek(7)
        assert (first.read(3), first.tell()) == (CONTENT[7:10], 10)
    payload.close()
    payload.close()


def test_a_spool_file_has_no_name(tmp_path: Path) -> None:
    payload = written(tmp_path, 0).finish()
    assert list(tmp_path.iterdir()) == []
    payload.close()


def test_a_counted_spool_file_has_a_name_while_it_is_held(tmp_path: Path) -> None:
    """A kubelet counts what it sees."""
    writer = PayloadWriter(Spool(tmp_path, counted=True), 10)
    writer.write(CONTENT)
    payload = writer.finish()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == len(CONTENT)
    with payload.open() as reader:
        payload.close()
        assert reader.read() == CONTENT
    assert list(tmp_path.iterdir()) == []
    discarded = PayloadWriter(Spool(tmp_path, counted=True), 10)
    discarded.write(CONTENT)
    discarded.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_outlives_its_payload(tmp_path: Path) -> None:
    payload = written(tmp_path, 0).finish()
    with payload.open() as reader:
        payload.close()
        assert reader.read() == CONTENT


def test_a_wiped_file_that_nobody_closed_holds_nothing_either(tmp_path: Path) -> None:
    spool, kept = tmp_path / "spool", tmp_path / "kept"
    spool.mkdir()
    writer = PayloadWriter(Spool(spool, counted=True, wiped=True), 10)
    writer.write(CONTENT)
    kept.hardlink_to(next(spool.iterdir()))
    del writer
    assert list(spool.iterdir()) == []
    assert kept.read_bytes() == bytes(len(CONTENT))


@pytest.mark.parametrize("finished", [True, False])
def test_a_wiped_file_holds_nothing_when_its_name_goes(tmp_path: Path, finished: bool) -> None:
    """A link keeps the file itself, as a disk might."""
    spool, kept = tmp_path / "spool", tmp_path / "kept"
    spool.mkdir()
    writer = PayloadWriter(Spool(spool, counted=True, wiped=True), 10)
    writer.write(CONTENT)
    (file,) = spool.iterdir()
    kept.hardlink_to(file)
    if finished:
        payload = writer.finish()
        assert kept.read_bytes() == CONTENT
        payload.close()
        payload.close()
    else:
        writer.discard()
    assert list(spool.iterdir()) == []
    assert kept.read_bytes() == bytes(len(CONTENT))


def test_a_spool_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    writer = PayloadWriter(Spool(tmp_path / "missing"), 10)
    with pytest.raises(FileNotFoundError):
        writer.write(CONTENT)
    writer.discard()
