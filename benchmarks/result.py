"""One benchmark's figure as it is printed: a JSON object on a line of its own. Used by every benchmark here."""

from __future__ import annotations

import json
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
