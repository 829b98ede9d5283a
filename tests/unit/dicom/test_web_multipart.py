"""A multipart message read from whatever pieces it comes in; what is none of it, and what is not all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.dicom.dicomweb.multipart import CutShortError, MalformedError, MultipartReader, boundary_of

CONTENTS = (b"one", b"", b"\r\n--", b"\r\n--bound", b"--boundary", b"\r\n\r\nthree\r\n", bytes(5000))
HEAD = b"Content-Type: application/dicom\r\n"


def message(contents: Sequence[bytes], *, preamble: bytes = b"", epilogue: bytes = b"", padding: bytes = b"") -> bytes:
    parts = [b"--boundary" + padding + b"\r\n" + HEAD + b"\r\n" + each + b"\r\n" for each in contents]
    return preamble + b"".join(parts) + b"--boundary--" + epilogue


def pieces_of(whole: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return (whole[start:end] for start, end in pairwise(edges) if start < end)


def read(pieces: Iterator[bytes]) -> list[bytes]:
    return [b"".join(map(bytes, part.content)) for part in MultipartReader(pieces, "boundary").parts()]


@given(
    st.lists(st.sampled_from(CONTENTS) | st.binary(max_size=200), max_size=4),
    st.lists(st.integers(0, 10**6), max_size=30),
    st.sampled_from((b"", b"some words\r\n", b"\r\n")),
    st.sampled_from((b"", b"\r\n", b"\r\nmore words")),
    st.sampled_from((b"", b" ", b"\t ")),
)
def test_the_parts_are_the_same_however_they_are_cut(
    contents: list[bytes], cuts: list[int], preamble: bytes, epilogue: bytes, padding: bytes
) -> None:
    whole = message(contents, preamble=preamble, epilogue=epilogue, padding=padding)
    assert read(pieces_of(whole, cuts)) == contents
    assert read(iter([bytes([byte]) for byte in whole])) == contents


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=10))
def test_no_beginning_of_a_message_is_a_whole_one(length: int, cuts: list[int]) -> None:
    whole = message(CONTENTS)
    beginning = whole[: length % len(whole)]
    with pytest.raises((CutShortError, MalformedError)):
        read(pieces_of(beginning, cuts))


def test_a_part_that_is_not_read_is_passed() -> None:
    parts = MultipartReader(iter([message(CONTENTS)]), "boundary").parts()
    assert len(list(parts)) == len(CONTENTS)


def test_what_a_part_announces() -> None:
    whole = b"--boundary\r\ncontent-length : 3\r\nX: y\r\n\r\none\r\n--boundary\r\n\r\n\r\n--boundary--"
    assert [part.announced for part in MultipartReader(iter([whole]), "boundary").parts()] == [3, None]


@pytest.mark.parametrize(
    "garbage",
    [
        b"<html></html>",
        bytes(100_000),
        b"--boundary" + b" " * 2000 + b"\r\n\r\n\r\n--boundary--",
        b"--boundaryandmore\r\n\r\n\r\n--boundary--",
        b"--boundary\r\n" + b"X: y\r\n" * 10_000 + b"\r\n\r\n--boundary--",
    ],
    ids=["another thing", "long", "endless padding", "another boundary", "endless headers"],
)
def test_garbage_is_told_from_what_was_cut(garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        read(iter([garbage]))


@pytest.mark.parametrize("nothing", [[], [b"\r\n"], [b"\r"]])
def test_nothing_at_all_is_no_message(nothing: list[bytes]) -> None:
    with pytest.raises((CutShortError, MalformedError)):
        read(iter(nothing))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ('Multipart/Related;boundary="a b:c";type=application/dicom', "a b:c"),
        ("multipart/related", None),
        ("multipart/mixed; boundary=abc", None),
        ("text/html", None),
        ("", None),
        ("multipart/related; boundary=", None),
    ],
)
def test_the_boundary(content_type: str, boundary: str | None) -> None:
    assert (boundary_of(content_type) or None) == boundary
