"""A process that decodes frames for another: `python -m adit.deid.pixels.decoder_process`. Started by `decoder`.

Images come from anywhere, and their decoders are native code: whatever happens to it here, it ends with this
process. It is told orders on its standard input and answers on its standard output, one after the other.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from typing import Any, BinaryIO, Final

from adit.deid.pixels.order import DecodingOrder, RunLengthOrder, UnusableFrameError
from adit.deid.pixels.run_length import masked
from adit.deid.pixels.syntax import Coding
from adit.discretion import leave_no_core

HEAD: Final = struct.Struct("<II")
"""Before an order: the lengths of its JSON and of the frame. Before an answer: its kind and length."""

PIXELS, UNUSABLE, NO_CODEC = range(3)
_ADDRESS_SPACE: Final = 4 * 2**30


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    leave_no_core()  # it would hold a patient's image
    _serve(sys.stdin.buffer, sys.stdout.buffer)


def _serve(orders: BinaryIO, answers: BinaryIO) -> None:
    while len(head := orders.read(HEAD.size)) == HEAD.size:
        words, length = HEAD.unpack(head)
        kind, answer = _answer(json.loads(orders.read(words)), orders.read(length))
        answers.write(HEAD.pack(kind, len(answer)))
        answers.write(answer)
        answers.flush()


def _answer(words: dict[str, Any], frame: bytes) -> tuple[int, bytes]:
    """`words` are those of an order, as `decoder` wrote them: it is not read from an image."""
    try:
        if "coding" in words:
            from adit.deid.pixels.decoding import decoded

            return PIXELS, decoded(DecodingOrder(**{**words, "coding": Coding(words["coding"])}), frame)
        return PIXELS, masked(RunLengthOrder(**words), frame)
    except ImportError as error:
        return NO_CODEC, str(error.name).encode()
    except UnusableFrameError as error:
        return UNUSABLE, str(error).encode()
    except MemoryError:
        return UNUSABLE, b"it needs too much memory"


if __name__ == "__main__":
    main()
