"""A selection whose reader dies half-way: what becomes of a job that has some of its tasks."""

from __future__ import annotations

from collections.abc import Sequence

from adit.ledger.records import TaskSeed


class CutOff(Sequence[TaskSeed]):
    """A selection whose reader dies after `batches` batches."""

    def __init__(self, seeds: Sequence[TaskSeed], batches: int) -> None:
        self._seeds = seeds
        self._left = batches

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return self._seeds[index]
