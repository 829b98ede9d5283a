"""What was done to runs of elements of the last instances: the same bytes again need no second look.

Slices of a series have most of their header in common. What becomes of an element depends on its bytes, the policy,
and the patient, and on nothing else; so a run of elements that is byte for byte the one of an earlier slice gets the
same result. A trail belongs to one level of one patient; elements that differ from slice to slice are found out.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from adit.deid.engine.plan import Change
from adit.deid.engine.scan import Buffer
from adit.deid.mapping import Kind

_FEWEST: Final = 3
_MOST: Final = 96
_LARGEST: Final = 2**16
_STRETCHES: Final = 2_000
_REMEMBERED: Final = 5_000
_REMEMBERED_BYTES: Final = 2**20
_SLACK: Final = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a walk made of some elements."""

    data: bytes
    changes: tuple[Change, ...]
    notes: dict[int, bytes]
    harvest: tuple[tuple[str, bytes], ...]
    pairs: dict[tuple[Kind, str], str]
    creators: dict[int, str]  # of private blocks that begin in it


@dataclass(frozen=True, slots=True)
class Owners:
    """To whom the private blocks belong in which elements stand."""

    groups: frozenset[int]
    creators: dict[int, str]  # of these groups' blocks, as far as they stand before the elements

    def are(self, creators: dict[int, str]) -> bool:
        """Whether they are the same ones again."""
        if not self.groups:
            return True
        return {each: name for each, name in creators.items() if each >> 8 in self.groups} == self.creators


@dataclass(frozen=True, slots=True)
class Block:
    """Elements whose bytes are always the same, and what becomes of them."""

    chunk: bytes
    size: int
    first: int
    last: int  # tags
    elements: tuple[tuple[int, bytes], ...]  # where each begins, and by which bytes
    outcome: Outcome
    owners: Owners


@dataclass(frozen=True, slots=True)
class Removed:
    """Elements that are removed whatever they hold: only where each ends must be found."""

    heads: tuple[bytes, ...]
    tags: tuple[int, ...]
    changes: tuple[Change, ...]
    owners: Owners

    @property
    def first(self) -> int:
        return self.tags[0]

    def skip(self, data: Buffer, pos: int, end: int, read: Callable[[Buffer, int], tuple[Any, ...]]) -> tuple[int, int]:
        """How many of them stand there, and where the next element begins; none where one is too long."""
        at = pos
        count = 0
        for head in self.heads:
            if end - at < 8:
                break
            key, length = read(data, at)
            if key != head:
                break
            at += 8 + length
            count += 1
        return (count, at) if at <= end else (0, pos)


Trace = list[tuple[int, bytes, int]]
"""Elements: where each begins, by which bytes, and its tag."""


END_OF_TRACE: Final = -1
"""In place of a tag: from here on nothing is learned."""


class Walker(Protocol):
    """Who walks what is not known."""

    def lasting(self, tag: int) -> bool:
        """Whether what becomes of the element depends on nothing but its own bytes."""
        ...

    def removed(self, head: bytes, tag: int) -> Change | None:
        """What is told of an element that is removed whatever it holds, and whose length has two bytes."""
        ...

    def creators_before(self, tag: int, groups: frozenset[int]) -> dict[int, str]:
        """Of the private blocks of these groups, as far as they stand before this tag."""
        ...

    def bytes_of(self, start: int, end: int) -> bytes: ...

    def outcome_of(self, start: int, end: int, creators: dict[int, str]) -> Outcome:
        """What becomes of the elements from here to there."""
        ...


@dataclass(slots=True)
class Trail:
    """By how an element begins: the stretch that begins with it, or, in `_barren`, how many bytes from there on
    nothing could be learned of."""

    stretches: dict[bytes, Block | Removed] = field(default_factory=dict)
    _varying: set[bytes] = field(default_factory=set)
    _barren: dict[bytes, int] = field(default_factory=dict)
    _before: dict[bytes, bytes] = field(default_factory=dict)  # an element's bytes in the last instance
    _size: int = 0

    def missed(self, head: bytes) -> None:
        """The stretch that begins so is not what stands there: it is learned anew without what differs."""
        block = self.stretches.pop(head)
        if isinstance(block, Block):
            ends = (*(begin for begin, _ in block.elements[1:]), block.size)
            for (begin, each), end in zip(block.elements, ends, strict=True):
                self._remember(each, block.chunk[begin:end])

    def learns(self, head: bytes) -> bool:
        """Whether elements that begin so are to be traced."""
        return head not in self._barren

    def passed(self, head: bytes, size: int) -> None:
        """A barren stretch was so long this time: perhaps it is another one."""
        if size > 2 * self._barren[head] + _SLACK:
            del self._barren[head]

    def learn(self, head: bytes, trace: Trace, end: int, walker: Walker, apart: tuple[int, ...]) -> None:
        """Makes stretches of the elements in `trace`, the first of which begins by `head`, and which were walked one by
        one up to `end`.

        No stretch has elements on both sides of one of the tags `apart`.
        """
        run: Trace = []
        begin, barren = trace[0][0], True
        was = (False, 0)
        for each, stop in zip(trace, [other[0] for other in trace[1:]] + [end], strict=True):
            start, begins, tag = each
            if tag == END_OF_TRACE:
                end = start
                break
            new, varies = self._compared(begins, start, stop, walker)
            now = (varies, bisect(apart, tag))
            apt = not new and walker.lasting(tag)
            if run and (now != was or not apt or len(run) >= _MOST):
                barren &= not self._learn(run, start, walker, varying=was[0])
                run = []
            was = now
            barren &= not new
            if apt:
                run.append(each)
        if run:
            barren &= not self._learn(run, end, walker, varying=was[0])
        if barren and len(self._barren) < _REMEMBERED:
            self._barren[head] = end - begin

    def _compared(self, head: bytes, start: int, stop: int, walker: Walker) -> tuple[bool, bool]:
        """Whether the element was not there before, and whether it varies."""
        if stop - start > _LARGEST:
            self._varying.add(head)
            return False, True
        before, data = self._before.get(head), walker.bytes_of(start, stop)
        if before != data:
            self._remember(head, data)
            if before is not None:
                self._varying.add(head)
        return before is None, head in self._varying

    def _remember(self, head: bytes, data: bytes) -> None:
        self._size += len(data)
        if self._size > _REMEMBERED_BYTES or len(self._varying) > _REMEMBERED:
            self._before.clear()
            self._varying.clear()
            self._size = len(data)
        self._before[head] = data

    def _learn(self, run: Trace, end: int, walker: Walker, *, varying: bool) -> bool:
        """Whether anything was."""
        if len(run) < _FEWEST or len(self.stretches) >= _STRETCHES:
            return False
        if varying:
            return self._learn_removed(run, walker)
        start = run[0][0]
        owners = _owners(run, walker)
        chunk, outcome = walker.bytes_of(start, end), walker.outcome_of(start, end, owners.creators)
        elements = tuple((at - start, head) for at, head, _ in run)
        self.stretches[run[0][1]] = Block(chunk, len(chunk), run[0][2], run[-1][2], elements, outcome, owners)
        return True

    def _learn_removed(self, run: Trace, walker: Walker) -> bool:
        learned = False
        removed: list[tuple[bytes, int, Change]] = []
        for _, head, tag in [*run, (0, b"", 0)]:
            change = walker.removed(head, tag) if head else None
            if change is not None:
                removed.append((head, tag, change))
                continue
            if len(removed) >= _FEWEST:
                heads, tags, changes = zip(*removed, strict=True)
                self.stretches[heads[0]] = Removed(heads, tags, changes, _owners(run, walker))
                learned = True
            removed = []
        return learned


def _owners(run: Trace, walker: Walker) -> Owners:
    groups = frozenset(tag >> 16 for _, _, tag in run if tag >> 16 & 1)
    return Owners(groups, walker.creators_before(run[0][2], groups))
