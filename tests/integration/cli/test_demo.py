"""`adit demo` as a newcomer sees it, on both kinds of PACS; and nothing of it is left running."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import measured
from tests.integration.cli.command import ADIT, Adit
from tests.peers.server_process import wait_until
from tests.sample import Sample

PROMISED_SECONDS = 120
"""In the README, for `make demo` of a fresh clone; with the environment prepared, most of it is to spare."""


@pytest.fixture
def newcomer(tmp_path: Path) -> Adit:
    return Adit(tmp_path, {"XDG_DATA_HOME": str(tmp_path / "share")})


def test_demo_is_green_and_its_next_commands_work(
    newcomer: Adit, record_property: Callable[[str, object], None]
) -> None:
    begun = time.monotonic()
    running = newcomer.start("demo", "--pacs", "orthanc", "--keep")
    told = _read_until(running, "node find research")
    seconds = time.monotonic() - begun  # all is proven by now; other processes of the tests had their part of the CPU
    record_property(measured.SECONDS, seconds)
    assert seconds < PROMISED_SECONDS
    research = _run(told[-1])
    assert "1.2.826.0.1.3680043.8.498" in research

    ended = newcomer.end(running, signal.SIGINT)

    assert ended.code == 0, ended.err
    assert ended.out.count("the same") == 2
    assert "demo-archive: Success. All tasks succeeded." in ended.out
    assert "demo-folder: Success. All tasks succeeded." in ended.out
    assert not (newcomer.folder / "share/adit/postgres").exists()  # the user's own ledger
    lines = re.findall(rf"^  ({re.escape(str(ADIT))} .*?)   # ", ended.err, re.MULTILINE)
    assert len(lines) == 3
    assert all(_run(line) for line in lines)
    wait_until(lambda: not _left_over(newcomer), "all that it started has ended")


def test_demo_needs_no_orthanc(newcomer: Adit) -> None:
    ended = newcomer("demo", "--pacs", "qrscp")
    assert ended.code == 0, ended.err
    assert ended.out.count("the same") == 2
    wait_until(lambda: not _left_over(newcomer), "all that it started has ended")


def test_an_interrupted_demo_ends_all_that_it_started(newcomer: Adit, sample: Sample) -> None:
    for number in sample([signal.SIGINT, signal.SIGTERM], 1):
        running = newcomer.start("demo", "--pacs", "orthanc")
        _read_until(running, "sent to hospital")
        ended = newcomer.end(running, number)
        assert ended.code == 130, ended.err
        wait_until(lambda: not _left_over(newcomer), "all that it started has ended")


def _read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """What the process told on standard error, up to the line that has the text."""
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or text not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], f"it ended before it told {text!r}: {lines}"
    return lines


def _run(line: str) -> str:
    """What the command that a line shows writes to standard output."""
    shown = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def _left_over(adit: Adit) -> list[str]:
    """Command lines of processes that work in the test's folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(process.read_text(errors="replace").replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [line for line in lines if str(adit.folder) in line]
