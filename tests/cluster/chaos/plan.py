"""What dies when: drawn from one seed, so that a run can be repeated. Pure; read by test_chaos.py and its conftest.

A moment is a number of tasks done and a short delay, not a time of day: so the same things die at the same points of
the job on a fast machine and on a slow one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

TASKS: Final = 50
STRIKES: Final = 5
_LAST: Final = 34
"""No blow is planned later: what dies must find work to disturb."""
_DELAY: Final = 2.0

KINDS: Final[Mapping[str, float]] = {
    "worker-deleted": 95,
    "worker-killed": 95,
    "operator": 120,
    "operators": 150,
    "frozen-leader": 100,
    "facade": 60,
    "postgres": 100,
    "kubelet": 90,
    "kube-apiserver": 220,
    "source": 70,
    "destination": 70,
    "anything": 110,
}
"""What a run kills, and about how many seconds the run takes on two cores."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a blow falls: once so many tasks are done, and then so many seconds later."""

    tasks_done: int
    delay: float


def moments(chance: Random, number: int = STRIKES, last: int = _LAST) -> list[Moment]:
    """In the order in which they come."""
    return [Moment(done, chance.uniform(0, _DELAY)) for done in sorted(chance.sample(range(last + 1), number))]


def chance_of(seed: int, kind: str) -> Random:
    """The dice of one run: those of other kinds do not move them."""
    return Random(f"{seed}/{kind}")


def sample(seed: int, seconds: float) -> list[str]:
    """Some kinds that together take about so long."""
    kinds = sorted(KINDS)
    Random(f"{seed}/sample").shuffle(kinds)
    chosen: list[str] = []
    for kind in kinds:
        if sum(KINDS[each] for each in (*chosen, kind)) <= seconds:
            chosen.append(kind)
    return chosen
