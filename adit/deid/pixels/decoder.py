"""The codecs as `treatment` sees them: a process of its own, started when needed, that may die of what it is fed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Final, Protocol

from adit.deid.pixels.decoder_process import HEAD, NO_CODEC, PIXELS
from adit.deid.pixels.order import Order
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason

_PIECE: Final = 2**20
_PASSED_ON: Final = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG")


class Decoder(Protocol):
    """Does what is ordered for a frame and returns its new bytes, or raises PixelQuarantine."""

    def do(self, order: Order, frame: bytes) -> bytes: ...


class DecoderProcess:
    """A context manager; the process ends with it. Not safe for threads: each has its own."""

    def __init__(self, seconds_per_frame: float = 60) -> None:
        self._seconds = seconds_per_frame
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DecoderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process.wait()
            self._process = None

    @property
    def process_id(self) -> int | None:
        return None if self._process is None else self._process.pid

    def do(self, order: Order, frame: bytes) -> bytes:
        """One process serves many orders; after one that it did not survive comes a new one."""
        if self._process is None:
            self._process = _started()
        deadline = time.monotonic() + self._seconds
        words = json.dumps(asdict(order)).encode()
        try:
            _write(self._process, HEAD.pack(len(words), len(frame)) + words, deadline)
            _write(self._process, frame, deadline)
            kind, length = HEAD.unpack(_read(self._process, HEAD.size, deadline))
            answer = _read(self._process, length, deadline)
        except (OSError, EOFError) as error:
            self.close()
            late = isinstance(error, TimeoutError)
            raise PixelQuarantine(
                PixelReason.CODESTREAM_DAMAGED, f"the decoder {'took too long over' if late else 'died of'} a frame"
            ) from error
        if kind == PIXELS:
            return answer
        if kind == NO_CODEC:
            raise PixelQuarantine(PixelReason.CODEC_MISSING, f"{answer.decode()} is not installed here")
        raise PixelQuarantine(PixelReason.CODESTREAM_DAMAGED, f"a frame cannot be used: {answer.decode()}")


def _started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "adit.deid.pixels.decoder_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries may quote what they were fed
        bufsize=0,
        env=_environment(),
    )
    for stream in (process.stdin, process.stdout):
        assert stream is not None  # noqa: S101 - both are pipes
        os.set_blocking(stream.fileno(), False)
        with suppress(OSError):  # a user may have only so much of it
            fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIECE)
    return process


def _environment() -> dict[str, str]:
    """No secret of ours. The worker's image keeps the codecs in a folder that only this process is told of."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    places = (os.environ.get("ADIT_CODECS"), os.environ.get("PYTHONPATH"))
    # numpy's OpenBLAS would reserve memory for each core of the node, and be killed for it
    return {**passed_on, "PYTHONPATH": os.pathsep.join(filter(None, places)), "OPENBLAS_NUM_THREADS": "1"}


def _write(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    assert process.stdin is not None  # noqa: S101
    rest = memoryview(data)
    while rest:
        _, ready, _ = select.select([], [process.stdin], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        rest = rest[process.stdin.write(rest[:_PIECE]) or 0 :]


def _read(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    assert process.stdout is not None  # noqa: S101
    data = bytearray(count)
    rest = memoryview(data)
    while rest:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        got = os.readv(process.stdout.fileno(), [rest])
        if not got:
            raise EOFError
        rest = rest[got:]
    rest.release()
    return bytes(data)
