"""Deflated data sets (PS3.5 A.5): inflated as a whole for the walk, and deflated again. Called by `instance`."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from adit.deid.engine.scan import Buffer
from adit.deid.quarantine import Quarantine, Reason

LARGEST: Final = 512 * 2**20
"""Bytes; a small file can inflate to any size."""

_PIECE: Final = 2**20


def inflated(data: Buffer) -> bytes:
    """Raises Quarantine when the stream is broken, ends early, or grows too large."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    size = 0
    rest = data[:]
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest, _PIECE)
            if not piece and not inflater.unconsumed_tail and not inflater.eof:
                raise Quarantine(Reason.MALFORMED, "", "its deflated stream ends early")
            rest = inflater.unconsumed_tail
            size += len(piece)
            if size > LARGEST:
                raise Quarantine(Reason.TOO_LARGE, "", f"it inflates to more than {LARGEST} bytes")
            pieces.append(piece)
    except zlib.error:
        raise Quarantine(Reason.MALFORMED, "", "its deflated stream is broken") from None
    return b"".join(pieces)


def deflated(pieces: Iterable[bytes]) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = b"".join([*(deflater.compress(piece) for piece in pieces), deflater.flush()])
    return packed + b"\0" * (len(packed) % 2)
