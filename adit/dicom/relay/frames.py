"""What goes over the relay once both sides are proven. Read and written by `sender` and `listener`.

To the worker, for each object: a header (length, JSON), its encoded data set in chunks (length, bytes), a chunk of no
length, and its whole length with its SHA-256; or, instead of a chunk, the word that it will not be finished. To the
receiver: "working" now and then while the object is being taken over, then the DIMSE status to tell its sender.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Final

CHUNK: Final = struct.Struct(">I")
END: Final = struct.Struct(">Q32s")
ANSWER: Final = struct.Struct(">cH")
LONGEST_HEADER: Final = 4096
LONGEST_CHUNK: Final = 2**20
ABANDONED: Final = 0xFFFFFFFF  # in place of a chunk's length
WORKING, ANSWERED = b"W", b"A"
WORKING_SECONDS: Final = 5.0
"""How often a worker says that it is still taking an object over."""
ANSWER_SECONDS: Final = 30.0
"""How long a worker may say nothing before it is taken for dead."""


class MalformedError(ConnectionError):
    """The other side sent what is no frame."""


@dataclass(frozen=True, slots=True)
class Header:
    """Which object follows."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    def encode(self) -> bytes:
        content = json.dumps(asdict(self)).encode()
        return CHUNK.pack(len(content)) + content

    @staticmethod
    def decode(content: bytes) -> Header:
        """Raises MalformedError."""
        try:
            values = json.loads(content)
            header = Header(**values)
        except (ValueError, TypeError) as error:
            raise MalformedError("a header cannot be read") from error
        if not all(isinstance(value, str) for value in values.values()):
            raise MalformedError("a header holds what is no text")
        return header
