"""How much of a node's budget each task that starts now may use, so that no worker asks another.

Called by `admit` once it knows which tasks start. A share is fixed for an attempt's life; the sum of
all shares that are held never exceeds the node's limit, and what others may yet need is kept back:
one association, and half of an even part of each rate, for every task slot that stays free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adit.ledger.records import NodeLoad
from adit.model.assignment import Share
from adit.model.identifiers import bytes_of

_MILLI = 1000  # rates of queries are divided in thousandths of a query a second, as integers


class Side(StrEnum):
    """What a task uses a node for. Fetching takes one association, storing as many as its share."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class _Pot:
    """One divisible part of a node's budget: what is free of it, and the least that a task gets."""

    free: int
    least: int

    def portions(self) -> int:
        """How many tasks can start with at least the least."""
        return max(0, self.free // self.least)

    def split(self, tasks: int, idle: int) -> list[int]:
        """Parts for `tasks` starting now while `idle` slots stay free; their sum is at most `free`."""
        spare = self.free - idle * self.least
        if spare < tasks * self.least:
            return [self.least] * tasks
        part, rest = divmod(spare, tasks)
        return [part + 1] * rest + [part] * (tasks - rest)


def slots(load: NodeLoad) -> int:
    """How many more tasks may use the node now, so that each gets a share it can work with."""
    limits = load.node.spec.limits
    pots = (_associations(load), _queries(load), _bytes(load))
    return max(0, min(limits.tasks - load.tasks, *(pot.portions() for pot in pots if pot)))


def shares(load: NodeLoad, sides: Sequence[Side]) -> list[Share]:
    """One share for each of the tasks that start now, given what each uses the node for.

    There may be at most `slots(load)` of them.
    """
    idle = slots(load) - len(sides)
    associations = _share_associations(load, sides, idle)
    queries, rate = _queries(load), _bytes(load)
    query_parts = queries.split(len(sides), idle) if queries else None
    byte_parts = rate.split(len(sides), idle) if rate else None
    return [
        Share(
            associations=associations[index],
            queries_per_second=query_parts[index] / _MILLI if query_parts else None,
            bytes_per_second=byte_parts[index] if byte_parts else None,
        )
        for index in range(len(sides))
    ]


def _share_associations(load: NodeLoad, sides: Sequence[Side], idle: int) -> list[int]:
    storing = sides.count(Side.DESTINATION)
    fetching = len(sides) - storing
    pot = _associations(load)
    parts = iter(_Pot(pot.free - fetching, pot.least).split(storing, idle) if storing else ())
    return [next(parts) if side is Side.DESTINATION else 1 for side in sides]


def _associations(load: NodeLoad) -> _Pot:
    return _Pot(load.node.spec.limits.associations - load.associations, 1)


def _queries(load: NodeLoad) -> _Pot | None:
    limits = load.node.spec.limits
    if limits.queries_per_second is None:
        return None
    limit = limits.queries_per_second * _MILLI
    held = math.ceil(round(load.queries_per_second * _MILLI, 3))
    return _Pot(limit - held, max(1, limit // (2 * limits.tasks)))


def _bytes(load: NodeLoad) -> _Pot | None:
    limits = load.node.spec.limits
    if limits.bytes_per_second is None:
        return None
    limit = bytes_of(limits.bytes_per_second)
    return _Pot(limit - load.bytes_per_second, max(1, limit // (2 * limits.tasks)))
