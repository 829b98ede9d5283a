"""An object read by ranges is the same file as one that is at hand, and costs no more than it may."""

from __future__ import annotations

import io
import os
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.dicom.folder.header import UnreadableError
from adit.dicom.s3.ranged_file import FIRST, LIMIT, RangedFile

CONTENT = bytes(range(256)) * 1000
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 300_000), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 300_000), st.just(os.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(0, 1000), st.just(os.SEEK_CUR)),
        st.tuples(st.just("seek"), st.just(0), st.just(os.SEEK_END)),
    ),
    max_size=20,
)


def ranged(content: bytes, ranges: list[int]) -> RangedFile:
    def fetch(start: int, count: int) -> bytes:
        ranges.append(count)
        assert start < len(content)
        return content[start : start + count]

    return RangedFile(len(content), fetch)


@given(STEPS)
def test_it_reads_as_a_file_does(steps: list[tuple[str, int, int]]) -> None:
    plain, file = io.BytesIO(CONTENT), ranged(CONTENT, [])
    for step, number, whence in steps:
        if step == "read":
            assert file.read(number) == plain.read(number)
        else:
            file.seek(number, whence)
            plain.seek(number, whence)
        assert file.tell() == plain.tell()


def test_many_small_reads_cost_few_ranges() -> None:
    ranges: list[int] = []
    file = ranged(CONTENT, ranges)
    while file.read(8):
        pass
    assert ranges[0] == FIRST
    assert len(ranges) == 4


def test_it_gives_up_a_header_that_never_ends() -> None:
    ranges: list[int] = []
    file = ranged(bytes(2 * LIMIT), ranges)
    with pytest.raises(UnreadableError):
        deque(iter(lambda: file.read(1000), b""))
    assert sum(ranges) <= LIMIT


def test_it_gives_up_a_header_all_over_the_object() -> None:
    ranges: list[int] = []
    far = ranged(bytes(8 * LIMIT), ranges)

    def jump(position: int) -> None:
        far.seek(position)
        far.read(8)

    with pytest.raises(UnreadableError):
        deque(map(jump, range(0, 8 * LIMIT, 5 * 2**20)))
    assert sum(ranges) <= LIMIT


def test_an_empty_object_costs_nothing() -> None:
    ranges: list[int] = []
    assert ranged(b"", ranges).read(132) == b""
    assert ranges == []


def test_a_failure_is_kept_for_whoever_takes_it_for_damage() -> None:
    def fetch(start: int, count: int) -> bytes:
        raise ConnectionError

    file = RangedFile(10, fetch)
    with pytest.raises(ConnectionError):
        file.read(1)
    assert isinstance(file.failure, ConnectionError)
