"""An instance as it is given to the engine: whole, or its beginning and a way to the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adit.deid.engine.scan import Buffer
from adit.deid.engine.syntax import IMPLICIT_LE

Read = Callable[[int, int], bytes]
"""Bytes of what `treat` was given the beginning of: from here, so many."""


@dataclass(frozen=True, slots=True)
class Given:
    """What `treat` was given."""

    data: Buffer
    start: int
    end: int
    syntax: str
    pseudonym: str | None
    patient_id: str | None
    read: Read | None

    def bytes_at(self, start: int, count: int) -> bytes:
        if self.read is not None:
            return self.read(start, count)
        return self.data[start : start + count]

    @property
    def implicit(self) -> bool:
        return self.syntax == IMPLICIT_LE

    @property
    def partial(self) -> bool:
        return self.end > len(self.data)
