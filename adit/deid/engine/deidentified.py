"""What the engine makes of an instance. Written by who called `Engine.treat`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adit.deid.engine.byte_walk import Part
from adit.deid.engine.plan import Change
from adit.deid.engine.scan import Buffer
from adit.deid.engine.values import Subject
from adit.deid.mapping import Kind


@dataclass(frozen=True, slots=True)
class Deidentified:
    """The new data set: `parts` are new bytes, or ranges of `source`, which must stay as long as they are read.

    Where only the beginning of an instance was given, ranges may lie beyond `source`: they count from its first byte.
    """

    source: Buffer
    parts: tuple[Part, ...]
    size: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    changes: tuple[Change, ...]
    pairs: dict[tuple[Kind, str], str]  # the replacement of each original
    subject: Subject

    def pieces(self) -> Iterator[bytes]:
        """All of it, for who cannot copy ranges and has given all of it."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            for start in range(part[0], part[1], 2**20):
                yield self.source[start : min(part[1], start + 2**20)]
