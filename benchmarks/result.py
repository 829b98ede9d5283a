"""One benchmark's figure as it is printed: a JSON object on a line of its own. Used by every benchmark here, and
by what runs them (`printed`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """`ratio` is ours ÷ anchor. `goal` says in words what must hold, `holds` whether it did."""

    name: str
    ours: float
    anchor: float
    unit: str
    goal: str
    holds: bool
    anchor_is: str

    @property
    def ratio(self) -> float:
        return self.ours / self.anchor

    def line(self) -> str:
        figures = asdict(self)
        for key in ("ours", "anchor"):
            figures[key] = round(figures[key], 3)
        figures["ratio"] = round(self.ratio, 3)
        order = ("name", "ours", "anchor", "unit", "ratio", "goal", "holds", "anchor_is")
        return json.dumps({key: figures[key] for key in order})


def printed(results: Iterable[Result]) -> int:
    """Each as soon as it is there. The exit code: 1 where a goal was not met, named on standard error at the end."""
    missed: list[str] = []
    for result in results:
        print(result.line(), flush=True)
        if not result.holds:
            missed.append(f"{result.name} ({result.goal})")
    if missed:
        print(f"Goals not met: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0
