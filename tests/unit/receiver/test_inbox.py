"""What the inbox keeps, also where the file system knows no hard links."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from adit_receiver.inbox import UNFINISHED, Inbox
from adit_receiver.outlet import Arrival, Refused

ARRIVAL = Arrival("1.2.3", "1.2.3.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5", "1.2.840.10008.1.2.1", "", None)


@pytest.fixture(params=["links", "no links"], autouse=True)
def _file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)


def put(inbox: Inbox, content: bytes) -> None:
    outlet = inbox.open(ARRIVAL)
    outlet.write(memoryview(content))
    outlet.finish()
    outlet.abandon()


def kept(folder: Path) -> dict[str, bytes]:
    assert list((folder / UNFINISHED).iterdir()) == []
    return {path.name: path.read_bytes() for path in (folder / "1.2.3").iterdir()}


@pytest.mark.parametrize("synced", [True, False])
def test_sent_again_it_is_there_once_and_another_content_stands_beside_it(tmp_path: Path, synced: bool) -> None:
    inbox = Inbox(tmp_path, synced=synced)
    for content in (b"one", b"two", b"one", b"two", b"another", b"one"):
        put(inbox, content)
    first, *others = (kept(tmp_path)[name] for name in sorted(kept(tmp_path), key=len))
    assert first.endswith(b"one")
    assert sorted(each[-3:] for each in others) == [b"her", b"two"]
    put(Inbox(tmp_path, synced=synced), b"two")
    assert len(kept(tmp_path)) == 3


def test_a_study_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    put(inbox, b"one")
    (tmp_path / "1.2.3" / "1.2.3.4.5.dcm").unlink()
    (tmp_path / "1.2.3").rmdir()
    put(inbox, b"two")
    assert list(kept(tmp_path)) == ["1.2.3.4.5.dcm"]


def test_what_was_left_unfinished_is_gone(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.open(ARRIVAL).write(memoryview(b"half"))
    inbox.open(ARRIVAL).abandon()
    [left] = (tmp_path / UNFINISHED).iterdir()
    Inbox(tmp_path)
    assert left.exists()  # perhaps another replica's, which is at it
    os.utime(left, (0, 0))
    Inbox(tmp_path)
    assert not left.exists()


def test_an_inbox_that_went_away_refuses(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    (tmp_path / "inbox").rename(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        inbox.open(ARRIVAL)
