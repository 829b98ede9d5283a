"""Fragments and codestreams that are damaged, that lie, or that say more than their image."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.encapsulation import DELIMITATION, encapsulated, frames_of
from adit.deid.pixels.facts import PixelFacts
from adit.deid.pixels.mask_area import Box, inside
from adit.deid.pixels.piece import Kept, MemoryBlock, joined
from adit.deid.pixels.plan import Leave, Mask, Plan
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.run_length import strays
from adit.deid.pixels.treatment import treated
from tests.unit.deid.pixels.images import made
from tests.unit.deid.pixels.objects import Array, facts

SECRET = b"DOE^JANE 19760824"
ROWS, COLUMNS = 16, 24
IMAGE = np.random.default_rng(1).integers(0, 255, size=(3, ROWS, COLUMNS), dtype=np.uint8)
JPEGS = [bytes(imagecodecs.jpeg8_encode(frame, level=90)) for frame in IMAGE]
JPEGS_LS = [bytes(imagecodecs.jpegls_encode(frame)) for frame in IMAGE]
JPEGS_2000 = [bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K")) for frame in IMAGE]
SYNTAXES: dict[str, list[bytes]] = {JPEGBaseline8Bit: JPEGS, JPEGLSLossless: JPEGS_LS, JPEG2000Lossless: JPEGS_2000}


def told(syntax: str, frames: int = 1, **changes: Any) -> PixelFacts:
    dataset = made(np.zeros((1, ROWS, COLUMNS, 1), np.uint8), "MONOCHROME2", ExplicitVRLittleEndian, stored=8)
    dataset.NumberOfFrames = frames
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return facts(dataset)


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def padded(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def sequence(fragments: Sequence[bytes], table: bytes = b"") -> MemoryBlock:
    return MemoryBlock(b"".join([item(table), *map(item, map(padded, fragments)), DELIMITATION]))


def out(
    decoder: DecoderProcess,
    known: PixelFacts,
    block: MemoryBlock,
    what: Plan = Leave(),  # noqa: B008 - frozen
) -> bytes:
    return b"".join(joined(treated(known, what, block, decoder).pieces, block))


def reason(decoder: DecoderProcess, known: PixelFacts, block: MemoryBlock, what: Plan = Leave()) -> PixelReason:  # noqa: B008
    with pytest.raises(PixelQuarantine) as refusal:
        out(decoder, known, block, what)
    return refusal.value.reason


def top(frames: int = 1) -> Mask:
    return Mask("top", inside([Box(0, 0, COLUMNS, 4, 0, frames)], ROWS, COLUMNS, frames))


def images_in(value: bytes, frames: int) -> list[Array]:
    """Decoded fragment by fragment, as GDCM sees a JPEG."""
    found, _ = frames_of(MemoryBlock(value), frames, None, one_each=False)
    read = [frame.read(MemoryBlock(value)) for frame in found]
    if read[0][:2] != b"\xff\xd8":
        return [np.asarray(imagecodecs.jpeg2k_decode(each)) for each in read]
    if b"\xff\xf7\0" in read[0][:1024]:
        return [np.asarray(imagecodecs.jpegls_decode(each)) for each in read]
    return [np.asarray(imagecodecs.jpeg8_decode(each)) for each in read]


# --- which fragment belongs to which frame


def halves(frame: bytes) -> list[bytes]:
    middle = len(frame) // 4 * 2
    return [frame[:middle], frame[middle:]]


def _table(fragments: Sequence[bytes], firsts: Sequence[int]) -> bytes:
    offsets, at = [], 0
    for index, fragment in enumerate(fragments):
        if index in firsts:
            offsets.append(at)
        at += 8 + len(padded(fragment))
    return struct.pack(f"<{len(offsets)}I", *offsets)


def test_frames_in_several_fragments(decoder: DecoderProcess) -> None:
    fragments = [half for frame in JPEGS for half in halves(frame)]
    for block in (sequence(fragments), sequence(fragments, _table(fragments, (0, 2, 4)))):
        assert out(decoder, told(JPEGBaseline8Bit, 3), block) == block.value
        known = told(JPEGBaseline8Bit, 3)
        after = np.frombuffer(out(decoder, known, block, top(3)), np.uint8).reshape(IMAGE.shape)
        assert not after[:, :4].any()
        assert np.array_equal(after[:, 4:], np.stack([imagecodecs.jpeg8_decode(each) for each in JPEGS])[:, 4:])


def test_one_frame_in_many_fragments(decoder: DecoderProcess) -> None:
    pieces = [JPEGS[0][at : at + 50] for at in range(0, len(JPEGS[0]), 50)]
    block = sequence(pieces)
    assert out(decoder, told(JPEGBaseline8Bit), block) == block.value


def test_an_offset_table_that_lies_is_left_out(decoder: DecoderProcess) -> None:
    block = sequence(JPEGS, struct.pack("<3I", 0, 4, 8))
    value = out(decoder, told(JPEGBaseline8Bit, 3), block)
    assert value == sequence(JPEGS).value


def test_an_extended_offset_table_that_lies_is_taken_away(decoder: DecoderProcess) -> None:
    block = sequence(JPEGS)
    known = told(
        JPEGBaseline8Bit, 3, ExtendedOffsetTable=bytes(24), ExtendedOffsetTableLengths=struct.pack("<3Q", 1, 2, 3)
    )
    done = treated(known, Leave(), block, decoder)
    assert {change.tag: change.value for change in done.changes} == {0x7FE00001: None, 0x7FE00002: None}


@pytest.mark.parametrize(
    ("frames", "block"),
    [
        (4, sequence(JPEGS)),
        (2, sequence(JPEGS)),
        (2, sequence(JPEGS, struct.pack("<2I", 0, 12))),
        (3, sequence([])),
        (1, sequence([])),
    ],
)
def test_fragments_that_do_not_make_up_the_frames(decoder: DecoderProcess, frames: int, block: MemoryBlock) -> None:
    assert reason(decoder, told(JPEGBaseline8Bit, frames), block) is PixelReason.FRAMES_CONTRADICT_HEADER


WHOLE = sequence(JPEGS[:1]).value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        bytes(WHOLE)[:-8],  # no delimiter
        bytes(WHOLE)[:-20] + DELIMITATION,  # a fragment longer than the rest
        bytes(WHOLE) + SECRET,  # something behind the delimiter
        item(b"") + SECRET + DELIMITATION,  # something between the items
        item(b"\0\0") + item(JPEGS[0][:100]) + DELIMITATION,  # no table of offsets
        struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + DELIMITATION,
        DELIMITATION,
        JPEGS[0],
    ],
)
def test_damaged_fragments(decoder: DecoderProcess, value: bytes) -> None:
    for what in (Leave(), top()):
        assert reason(decoder, told(JPEGBaseline8Bit), MemoryBlock(value), what) is PixelReason.FRAGMENTS_DAMAGED


# --- words beside the image


def _with_words(syntax: str, frame: bytes) -> bytes:
    """A name in every place of the codestream that is not its image."""
    if syntax == JPEG2000Lossless:
        comment = struct.pack(">HHH", 0xFF64, len(SECRET) + 4, 1) + SECRET
        at = frame.index(b"\xff\x52")  # before COD, in the main header
        return frame[:at] + comment + frame[at:] + SECRET
    word = struct.pack(">H", len(SECRET) + 2) + SECRET
    jfif = b"\xff\xe0" + struct.pack(">H", 16 + len(SECRET)) + b"JFIF\0\1\1\0\0\1\0\1\4\5" + SECRET
    segments = [jfif, b"\xff\xfe" + word, *(bytes((0xFF, 0xE1 + number)) + word for number in range(15))]
    return b"\xff\xd8" + b"".join(segments) + frame[2:] + SECRET


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_words_beside_the_image_are_overwritten(decoder: DecoderProcess, syntax: str) -> None:
    frames = [_with_words(syntax, frame) for frame in SYNTAXES[syntax]]
    split = [part for frame in frames for part in halves(frame)]
    for fragments, table in ((frames, b""), (split, _table(split, (0, 2, 4))), (frames, struct.pack("<3I", 0, 4, 8))):
        block = sequence(fragments, table)
        assert SECRET in bytes(block.value) or fragments is split
        value = out(decoder, told(syntax, 3), block)
        for start in range(0, len(SECRET) - 4):
            assert SECRET[start : start + 5] not in value
        before = [np.asarray(image) for image in images_in(bytes(sequence(SYNTAXES[syntax]).value), 3)]
        assert all(map(np.array_equal, images_in(value, 3), before))


UNKNOWN = [0x02, 0xBF, 0xC8, 0xCC, 0xDD, 0xDE, 0xDF, 0xF0, 0xF8, 0xF9, 0xFD]


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless])
@pytest.mark.parametrize("marker", UNKNOWN, ids=hex)
def test_words_in_segments_that_nobody_knows(decoder: DecoderProcess, syntax: str, marker: int) -> None:
    frame = SYNTAXES[syntax][0]
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(SECRET) + 2) + SECRET
    for at in (2, len(frame) - 2) if marker >= 0x80 else (2,):  # within a scan of JPEG-LS it is no marker
        with pytest.raises(PixelQuarantine) as told_why:
            out(decoder, told(syntax), sequence([frame[:at] + segment + frame[at:]]))
        assert told_why.value.reason is PixelReason.CODESTREAM_DAMAGED


def test_words_behind_a_table(decoder: DecoderProcess) -> None:
    frame = JPEGS[0]
    for marker in (b"\xff\xdb", b"\xff\xc4"):
        at = frame.index(marker) + 2
        (size,) = struct.unpack_from(">H", frame, at)
        longer = struct.pack(">H", size + len(SECRET)) + frame[at + 2 : at + size] + SECRET + frame[at + size :]
        with pytest.raises(PixelQuarantine):
            out(decoder, told(JPEGBaseline8Bit), sequence([frame[:at] + longer]))


@pytest.mark.parametrize("head", [b"\xff\xe0\0\x0eJFIF\0", b"\xff\xee\0\x0eAdobe"], ids=["JFIF", "Adobe"])
def test_words_in_segments_that_decoders_know(decoder: DecoderProcess, head: bytes) -> None:
    frame = JPEGS[0]
    words = (SECRET[:7] if b"JFIF" in head else SECRET[:6] + b"\0")[: 14 - len(head) + 2]
    value = out(decoder, told(JPEGBaseline8Bit), sequence([frame[:2] + head + words + frame[2:]]))
    assert SECRET[:5] not in value
    assert np.array_equal(images_in(value, 1)[0], images_in(bytes(sequence([frame]).value), 1)[0])


@pytest.mark.parametrize("marker", [0xFF01, 0xFF54, 0xFF5A, 0xFF62, 0xFF65, 0xFF74], ids=hex)
def test_words_in_segments_of_jpeg_2000_that_nobody_knows(decoder: DecoderProcess, marker: int) -> None:
    frame = JPEGS_2000[0]
    for at in (frame.index(b"\xff\x52"), frame.index(b"\xff\x93")):  # in the main header, in the tile-part's
        segment = struct.pack(">HH", marker, len(SECRET) + 2) + SECRET
        with pytest.raises(PixelQuarantine):
            out(decoder, told(JPEG2000Lossless), sequence([frame[:at] + segment + frame[at:]]))


def test_a_box_of_words_among_the_headers_of_jp2(decoder: DecoderProcess) -> None:
    boxed = bytes(imagecodecs.jpeg2k_encode(IMAGE[0], level=0, codecformat="JP2"))
    at = boxed.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", boxed, at)
    box = struct.pack(">I4s", 8 + len(SECRET), b"xml ") + SECRET
    longer = struct.pack(">I", size + len(box)) + boxed[at + 4 : at + size] + box + boxed[at + size :]
    value = out(decoder, told(JPEG2000Lossless), sequence([boxed[:at] + longer]))
    assert SECRET not in value
    assert np.array_equal(images_in(value, 1)[0], IMAGE[0])


def test_a_codestream_in_jp2_boxes(decoder: DecoderProcess) -> None:
    boxed = bytes(imagecodecs.jpeg2k_encode(IMAGE[0], level=0, codecformat="JP2"))
    block = sequence([boxed + struct.pack(">I4s", 8 + len(SECRET), b"xml ") + SECRET])
    value = out(decoder, told(JPEG2000Lossless), block)
    assert SECRET not in value
    assert np.array_equal(images_in(value, 1)[0], IMAGE[0])


# --- headers that lie, and damage


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": ROWS - 1},
        {"Columns": COLUMNS + 1},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
    ],
)
def test_another_image_than_the_header_tells(decoder: DecoderProcess, syntax: str, changes: dict[str, Any]) -> None:
    known, block = told(syntax, **changes), sequence(SYNTAXES[syntax][:1])
    for what in (Leave(), Mask("x", inside([Box(0, 0, 4, 4, 0, 1)], known.rows or 0, known.columns or 0, 1))):
        assert reason(decoder, known, block, what) is PixelReason.CODESTREAM_CONTRADICTS_HEADER


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_later_frame_that_is_another_image(decoder: DecoderProcess, syntax: str) -> None:
    small = IMAGE[0, :8]
    if syntax == JPEG2000Lossless:
        last = bytes(imagecodecs.jpeg2k_encode(small, level=0, codecformat="J2K"))
    else:
        last = bytes((imagecodecs.jpegls_encode if syntax == JPEGLSLossless else imagecodecs.jpeg8_encode)(small))
    block = sequence([*SYNTAXES[syntax][:2], last])
    for what in (Leave(), top(3)):
        assert reason(decoder, told(syntax, 3), block, what) is PixelReason.CODESTREAM_CONTRADICTS_HEADER


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_truncated_codestream(decoder: DecoderProcess, syntax: str) -> None:
    frame = SYNTAXES[syntax][0]
    for length in (2, 10, len(frame) // 2, len(frame) - 3):
        block = sequence([frame[:length]])
        for what in (Leave(), top()):
            assert reason(decoder, told(syntax), block, what) is PixelReason.CODESTREAM_DAMAGED, length


def test_run_lengths_that_lie(decoder: DecoderProcess) -> None:
    header = struct.pack("<16I", 1, 64, *(0,) * 14)
    right = bytes((257 - 128, 7)) * (ROWS * COLUMNS // 128)
    assert out(decoder, told(RLELossless), sequence([header + right]), top()).endswith(DELIMITATION)
    for frame, why in (
        (header[:40], PixelReason.CODESTREAM_CONTRADICTS_HEADER),
        (struct.pack("<16I", 3, 64, *(0,) * 14) + right, PixelReason.CODESTREAM_CONTRADICTS_HEADER),
        (struct.pack("<16I", 1, 65, *(0,) * 14) + right, PixelReason.CODESTREAM_CONTRADICTS_HEADER),
    ):
        for what in (Leave(), top()):
            assert reason(decoder, told(RLELossless), sequence([frame]), what) in (why, PixelReason.CODESTREAM_DAMAGED)
    for data in (right[:-2], right + right, b"\x7fab", b"\x80" * 6):
        assert reason(decoder, told(RLELossless), sequence([header + data]), top()) is PixelReason.CODESTREAM_DAMAGED


@pytest.mark.parametrize("lying", [False, True], ids=["", "without its table"])
def test_bytes_that_are_no_run_lengths_are_overwritten(decoder: DecoderProcess, *, lying: bool) -> None:
    """Behind the runs, in a literal run that is longer than the plane, and among the offsets that are not used."""
    header = struct.pack("<16I", 1, 64, *(0,) * 14)
    run = bytes((257 - 128, 7))
    clean = header + run * 2 + bytes((127,)) + bytes(range(128))
    behind = clean + SECRET
    within = header + run * 3 + bytes((257 - 2, 7)) + SECRET
    overlong = header + run * 2 + bytes((257 - 125, 7)) + bytes((2 + len(SECRET),)) + b"abc" + SECRET
    among = header[:8] + SECRET.ljust(56, b"\0") + clean[64:]
    frames = [clean, behind, within, overlong, among]
    block = sequence(frames, struct.pack("<5I", 0, 1, 2, 3, 4) if lying else b"")
    value = out(decoder, told(RLELossless, len(frames)), block)
    assert SECRET in block.value
    assert SECRET not in value
    assert SECRET[:4] not in value
    assert len(value) == len(block.value) - (20 if lying else 0)
    assert value.count(padded(clean)) == 3  # the first, that with words behind it, and that with words in its header
    assert b"abc" in value


def test_runs_of_a_plane_in_the_middle_are_followed_to_their_end() -> None:
    plane = bytes((257 - 100, 7))
    frame = struct.pack("<16I", 2, 64, 64 + 2 + len(SECRET), *(0,) * 13) + plane + SECRET + plane
    [patch] = strays(frame, 2, 100)
    assert (patch.start, patch.data) == (66, bytes(len(SECRET)))


def test_video_needs_the_word_of_a_rule(decoder: DecoderProcess) -> None:
    block = sequence([b"\0\0\1\xb3" + SECRET])
    assert reason(decoder, told(MPEG2MPML, 100), block) is PixelReason.FORMAT_UNSUPPORTED
    assert reason(decoder, told(MPEG2MPML, 100), block, top(100)) is PixelReason.FORMAT_UNSUPPORTED
    done = treated(told(MPEG2MPML, 100), Leave("endoscope-7"), block, decoder)
    assert list(done.pieces) == [Kept(0, block.length)]


# --- what the codecs are fed


def test_the_codec_process_dies_and_the_next_frame_gets_another(decoder: DecoderProcess) -> None:
    import os
    import signal

    known, block = told(JPEGBaseline8Bit), sequence(JPEGS[:1])
    out(decoder, known, block, top())
    assert decoder.process_id is not None
    os.kill(decoder.process_id, signal.SIGKILL)
    assert reason(decoder, known, block, top()) is PixelReason.CODESTREAM_DAMAGED
    assert out(decoder, known, block, top())


def test_a_codec_that_takes_too_long_is_ended() -> None:
    with DecoderProcess(seconds_per_frame=0) as hurried:
        assert reason(hurried, told(JPEGBaseline8Bit), sequence(JPEGS[:1]), top()) is PixelReason.CODESTREAM_DAMAGED
        assert hurried.process_id is None


def test_the_codec_process_inherits_no_secret(decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    monkeypatch.setenv("ADIT_DATABASE_PASSWORD", "s3cret")
    with DecoderProcess() as fresh:
        out(fresh, told(JPEGBaseline8Bit), sequence(JPEGS[:1]), top())
        assert b"s3cret" not in Path(f"/proc/{fresh.process_id}/environ").read_bytes()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_passes_or_breaks(data: st.DataObject) -> None:
    """Some bytes changed, cut out or put in, anywhere: a value of the right form, or a refusal; nothing else."""
    syntax = data.draw(st.sampled_from([*SYNTAXES, RLELossless]))
    good = _good(syntax)
    value = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        match data.draw(st.sampled_from(("change", "cut", "insert"))):
            case "change":
                value[at] = data.draw(st.integers(0, 255))
            case "cut":
                del value[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                value[at:at] = data.draw(st.binary(min_size=1, max_size=40))
        if not value:
            return
    block = MemoryBlock(bytes(value))
    masked = data.draw(st.booleans())
    try:
        result = out(_shared(), told(syntax, 3), block, top(3) if masked else Leave())
    except PixelQuarantine:
        return
    if masked and syntax != RLELossless:
        assert not np.frombuffer(result, np.uint8).reshape(IMAGE.shape)[:, :4].any()
    else:
        assert result.endswith(DELIMITATION)


def _good(syntax: str) -> bytes:
    if syntax != RLELossless:
        return bytes(sequence(SYNTAXES[syntax]).value)
    header = struct.pack("<16I", 1, 64, *(0,) * 14)
    return bytes(sequence([header + bytes((257 - 128, 7)) * (ROWS * COLUMNS // 128)] * 3).value)


_PROCESS = DecoderProcess()


def _shared() -> DecoderProcess:
    return _PROCESS


@pytest.fixture(scope="module", autouse=True)
def _ended() -> object:
    yield
    _PROCESS.close()


def test_encapsulated_frames_are_even() -> None:
    value = b"".join(encapsulated(iter([b"abc"])))
    assert value == item(b"") + item(b"abc\0") + DELIMITATION
    assert isinstance(Dataset(), Dataset)


BESIDE = {"TLM": 0xFF55, "PRF": 0xFF56, "PLM": 0xFF57, "PLT": 0xFF58, "CPF": 0xFF59, "CRG": 0xFF63}


@pytest.mark.parametrize("marker", BESIDE.values(), ids=BESIDE)
def test_words_in_an_index_of_jpeg_2000(decoder: DecoderProcess, marker: int) -> None:
    """Nobody needs them to make the image: they become a comment of zeros, so that nothing moves."""
    frame = JPEGS_2000[0]
    segment = struct.pack(">HH", marker, len(SECRET) + 2) + SECRET
    before_tile, before_data = frame.index(b"\xff\x52"), frame.index(b"\xff\x93")
    longer = struct.pack(">I", struct.unpack_from(">I", frame, before_data - 6)[0] + len(segment))
    in_tile = frame[: before_data - 6] + longer + frame[before_data - 2 : before_data] + segment + frame[before_data:]
    for damaged in (frame[:before_tile] + segment + frame[before_tile:], in_tile):
        value = out(decoder, told(JPEG2000Lossless), sequence([damaged]))
        assert SECRET[:5] not in value
        assert len(value) == sequence([damaged]).length
        assert np.array_equal(images_in(value, 1)[0], IMAGE[0])


@pytest.mark.parametrize("layout", [0x40, 0x50, 0x60, 0x00, 0x10])
def test_lengths_of_tile_parts_that_are_true_stay(decoder: DecoderProcess, layout: int) -> None:
    """HTJ2K with RPCL must have them."""
    frame = JPEGS_2000[0]
    at, tile = frame.index(b"\xff\x52"), frame.index(b"\xff\x90")
    number = struct.pack(">H", 0)[2 - (layout >> 4 & 3) :]
    (length,) = struct.unpack_from(">I", frame, tile + 6)
    for off, stays in ((0, True), (1, False)):
        body = bytes((0, layout)) + number + (length + off).to_bytes(4 if layout & 0x40 else 2)
        segment = struct.pack(">HH", 0xFF55, len(body) + 2) + body
        value = out(decoder, told(JPEG2000Lossless), sequence([frame[:at] + segment + frame[at:]]))
        assert (segment in value) is stays
        assert np.array_equal(images_in(value, 1)[0], IMAGE[0])


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless])
def test_another_image_in_a_second_scan(decoder: DecoderProcess, syntax: str) -> None:
    """Some decoders show the first, some the last."""
    one, other = SYNTAXES[syntax][:2]
    scans = [frame[frame.index(b"\xff\xda") : -2] for frame in (one, other)]
    both = one[: one.index(b"\xff\xda")] + b"".join(scans) + b"\xff\xd9"
    assert reason(decoder, told(syntax), sequence([both])) is PixelReason.CODESTREAM_DAMAGED
    if syntax == JPEGBaseline8Bit:  # scans of a progressive one refine the same image
        progressive = sequence([both.replace(b"\xff\xc0", b"\xff\xc2", 1)])
        assert out(decoder, told(syntax), progressive) == progressive.value
