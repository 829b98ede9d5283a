"""A reference names one process for good, and nothing else is mistaken for one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.model.process_reference import ProcessReference, make, parse, start_ticks


@given(host=st.from_regex(r"\A[a-zA-Z0-9.-]{1,40}\Z"), pid=st.integers(1, 2**22), ticks=st.integers(0, 2**60))
def test_what_is_made_is_parsed(host: str, pid: int, ticks: int) -> None:
    assert parse(make(host, pid, ticks)) == ProcessReference(host, pid, ticks)


@pytest.mark.parametrize("other", ["", "transfer-17-1", "host/x/1", "host/0/1", "host/1", "a/b/1/2"])
def test_other_launchers_references_are_not_ours(other: str) -> None:
    assert parse(other) is None


def test_a_programs_name_cannot_pretend_to_be_a_start_time() -> None:
    fields = " ".join(str(number) for number in range(3, 53))
    assert start_ticks(f"17 (evil) 1 2 (x)) {fields}") == 22


def test_a_real_process_keeps_its_start_time() -> None:
    def ticks(pid: int) -> int:
        return start_ticks(Path(f"/proc/{pid}/stat").read_text())

    child = subprocess.Popen(["/bin/sleep", "30"])
    try:
        assert ticks(child.pid) == ticks(child.pid) >= ticks(os.getpid())
    finally:
        child.kill()
        child.wait()
