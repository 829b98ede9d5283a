"""What was done to runs of elements of the last instances: the same bytes again need no second look.

Slices of a series have most of their header in common. What becomes of an element depends on its bytes, the policy,
and the patient, and on nothing else; so a run of elements that is byte for byte the one of an earlier slice gets the
same result. A trail belongs to one level of one patient; elements that differ from slice to slice are found out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from adit.deid.engine.plan import Change

Part = tuple[int, int] | bytes

_FEWEST: Final = 3
_MOST: Final = 96
_LARGEST: Final = 2**17
_BLOCKS: Final = 2_000
_VARYING: Final = 5_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a walk made of some elements; ranges are counted from their first byte."""

    parts: tuple[Part, ...]
    changes: tuple[Change, ...]
    notes: dict[int, bytes]
    harvest: tuple[tuple[str, bytes], ...]
    uids: dict[str, str]
    creators: dict[int, str]  # of private blocks that begin in it


@dataclass(frozen=True, slots=True)
class Block:
    """A run of elements and what becomes of it."""

    chunk: bytes
    size: int
    first: int
    last: int  # tags
    elements: tuple[tuple[int, bytes], ...]  # where each begins, and by which bytes
    outcome: Outcome
    groups: frozenset[int]  # private ones
    needs: dict[int, str]  # the creators of their blocks that stand before it

    def fits(self, creators: dict[int, str]) -> bool:
        """Whether the private blocks are whose they were."""
        if not self.groups:
            return True
        return {each: name for each, name in creators.items() if each >> 8 in self.groups} == self.needs

    def differing(self, data: bytes) -> bytes:
        """How the first element begins that is another one in these bytes, which stand at the same place."""
        found = self.elements[0][1]
        for (begin, head), (end, _) in zip(self.elements, (*self.elements[1:], (self.size, b"")), strict=True):
            found = head
            if data[begin:end] != self.chunk[begin:end]:
                break
        return found


Trace = list[tuple[int, bytes, int]]
"""Elements: where each begins, by which bytes, and its tag."""


END_OF_TRACE: Final = -1
"""In place of a tag: from here on nothing is learned."""


class Walker(Protocol):
    """Who walks what is not known."""

    def lasting(self, tag: int) -> bool:
        """Whether what becomes of the element depends on nothing but its own bytes."""
        ...

    def creators_before(self, tag: int, groups: frozenset[int]) -> dict[int, str]:
        """Of the private blocks of these groups, as far as they stand before this tag."""
        ...

    def outcome_of(self, start: int, end: int, creators: dict[int, str]) -> tuple[bytes, Outcome]:
        """The bytes from here to there, and what becomes of them."""
        ...


@dataclass(slots=True)
class Trail:
    blocks: dict[bytes, Block] = field(default_factory=dict)
    varying: set[bytes] = field(default_factory=set)

    def missed(self, head: bytes, data: bytes) -> None:
        """The block that begins so is not what stands there: it is learned anew without what differs."""
        block = self.blocks.pop(head)
        if len(self.varying) < _VARYING:
            self.varying.add(block.differing(data))

    def learn(self, trace: Trace, end: int, walker: Walker, apart: tuple[int, ...]) -> None:
        """Makes blocks of the elements in `trace`, which were walked one by one up to `end`.

        No block has elements on both sides of one of the tags `apart`.
        """
        run: Trace = []
        places = [each[0] for each in trace[1:]] + [end]
        for each, stop in zip(trace, places, strict=True):
            if each[2] == END_OF_TRACE:
                end = each[0]
                break
            crosses = run and any(run[0][2] < tag <= each[2] for tag in apart)
            if crosses or len(run) >= _MOST:
                self._learn(run, each[0], walker)
                run = []
            if each[1] in self.varying or stop - each[0] > _LARGEST or not walker.lasting(each[2]):
                self._learn(run, each[0], walker)
                run = []
            else:
                run.append(each)
        self._learn(run, end, walker)

    def _learn(self, run: Trace, end: int, walker: Walker) -> None:
        if len(run) < _FEWEST or len(self.blocks) >= _BLOCKS:
            return
        start = run[0][0]
        groups = frozenset(tag >> 16 for _, _, tag in run if tag >> 16 & 1)
        needs = walker.creators_before(run[0][2], groups)
        chunk, outcome = walker.outcome_of(start, end, needs)
        elements = tuple((at - start, head) for at, head, _ in run)
        self.blocks[run[0][1]] = Block(chunk, len(chunk), run[0][2], run[-1][2], elements, outcome, groups, needs)
