"""Masking a 210 MB object of 400 frames, file in to file out, in a process of its own: its speed and its memory.

Native pixels against a plain copy of the file; compressed ones against their codec and a file written.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result

_FRAMES, _SIDE = 400, 512
_MEBI = 2**20
_RSS_LIMIT = 120
_JPEG = "1.2.840.10008.1.2.4.50"
_RLE = "1.2.840.10008.1.2.5"
_NATIVE = "1.2.840.10008.1.2.1"


def measure(folder: Path) -> Iterator[Result]:
    source, target = folder / "pixels", folder / "masked"
    native = _FRAMES * _SIDE * _SIDE * 2
    source.write_bytes(os.urandom(_MEBI) * (native // _MEBI))
    turns = [(_seconds("copy", source, target)[0], *_seconds(_NATIVE, source, target)) for _ in range(5)]
    copying, masking, rss = (min(figures) for figures in zip(*turns, strict=True))
    yield Result(
        name="mask-native-210-mb",
        ours=native / masking / 1e6,
        anchor=native / copying / 1e6,
        unit="MB/s",
        goal="ratio >= 0.5",
        holds=copying / masking >= 0.5,
        anchor_is="copy_file_range of the whole file",
    )
    peaks = [rss]
    for syntax, name in ((_RLE, "rle"), (_JPEG, "jpeg")):
        _compress(source, syntax)
        alone = min(_codec_alone(syntax, target) for _ in range(3))
        seconds, rss = min(_seconds(syntax, source, target) for _ in range(3))
        peaks.append(rss)
        yield Result(
            name=f"mask-{name}-frames",
            ours=_FRAMES / seconds,
            anchor=_FRAMES / alone,
            unit="frames/s",
            goal="ratio >= 0.5",
            holds=alone / seconds >= 0.5,
            anchor_is="the codec alone, in one process, and its output written",
        )
    yield Result(
        name="mask-peak-rss",
        ours=max(peaks) / _MEBI,
        anchor=peaks[0] / _MEBI,
        unit="MiB",
        goal=f"ours <= {_RSS_LIMIT}",
        holds=max(peaks) <= _RSS_LIMIT * _MEBI,
        anchor_is="the same for native pixels",
    )


def _seconds(what: str, source: Path, target: Path) -> tuple[float, int]:
    """Of a process that does it, without its start: seconds, and the greater of its and its codecs' peak RSS."""
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.pixel_masks", what, str(source), str(target)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(told[0]), int(told[1])


@dataclass(frozen=True, slots=True)
class FileBlock:
    """An `adit.deid.pixels.piece.Block` that is a whole file."""

    descriptor: int
    length: int

    def read(self, start: int, count: int) -> bytes:
        return os.pread(self.descriptor, count, start)


def _work(what: str, source: Path, target: Path) -> None:
    from adit.deid.pixels.decoder import DecoderProcess
    from adit.deid.pixels.facts import PixelElement, facts_of
    from adit.deid.pixels.piece import Kept
    from adit.deid.pixels.plan import plan
    from adit.deid.pixels.treatment import treated
    from adit.model.pixel_policy import PixelPolicy

    begun = time.perf_counter()
    with source.open("rb") as old, target.open("wb", buffering=0) as new, DecoderProcess() as decoder:
        block = FileBlock(old.fileno(), source.stat().st_size)
        pieces: Iterator[Kept | bytes] = iter((Kept(0, block.length),))
        if what != "copy":
            bits = 16 if what == _NATIVE else 8
            short = struct.Struct("<H").pack
            values = {0x00280002: short(1), 0x00280004: b"MONOCHROME2", 0x00280008: b"%d" % _FRAMES}
            values |= {0x00280010: short(_SIDE), 0x00280011: short(_SIDE), 0x00280100: short(bits)}
            facts = facts_of(what, values, element=PixelElement.INTEGER)
            when = {"all": [{"attribute": "Rows", "equals": str(_SIDE)}]}
            parts = [{"left": 0, "top": 0, "height": 40}, {"left": 400, "top": 480, "width": 100}]
            policy = PixelPolicy.model_validate({"deviceRules": [{"name": "x", "when": when, "mask": parts}]})
            pieces = treated(facts, plan(facts, policy), block, decoder).pieces
        for piece in pieces:
            if isinstance(piece, bytes):
                new.write(piece)
                continue
            at = piece.start
            while at < piece.end:
                at += os.copy_file_range(old.fileno(), new.fileno(), piece.end - at, at)
        seconds = time.perf_counter() - begun
        peak = max(_peak(process) for process in (os.getpid(), decoder.process_id) if process is not None)
    print(seconds, peak)


def _peak(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _frame() -> object:
    import numpy as np

    ramp = np.add.outer(np.arange(_SIDE), np.arange(_SIDE)) // 4
    return (ramp + np.random.default_rng(1).integers(0, 4, ramp.shape)).astype(np.uint8)


def _encoded(syntax: str) -> bytes:
    if syntax == _JPEG:
        import imagecodecs

        return bytes(imagecodecs.jpeg8_encode(_frame(), level=90))  # type: ignore[arg-type]
    from rle.utils import encode_pixel_data

    return bytes(
        encode_pixel_data(
            _frame().tobytes(),  # type: ignore[attr-defined]
            rows=_SIDE,
            columns=_SIDE,
            samples_per_pixel=1,
            bits_allocated=8,
        )
    )


def _compress(path: Path, syntax: str) -> None:
    from adit.deid.pixels.encapsulation import encapsulated

    frame = _encoded(syntax)
    with path.open("wb") as file:
        file.writelines(encapsulated(frame for _ in range(_FRAMES)))


def _codec_alone(syntax: str, target: Path) -> float:
    frame = _encoded(syntax)
    target.unlink(missing_ok=True)
    with target.open("wb", buffering=0) as file:
        begun = time.perf_counter()
        for _ in range(_FRAMES):
            if syntax == _JPEG:
                import imagecodecs

                file.write(imagecodecs.jpeg8_decode(frame).tobytes())
            else:
                from rle.rle import decode_segment, encode_segment

                file.write(encode_segment(decode_segment(frame[64:])[: _SIDE * _SIDE], _SIDE))
        return time.perf_counter() - begun


if __name__ == "__main__":
    _work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
