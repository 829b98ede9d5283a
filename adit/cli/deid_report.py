"""What was done to a job's instances, as tables for people. Called by `adit deid report`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text


def tables_of(told: dict[str, Any]) -> Iterator[Table]:
    """Of `adit.ledger.treatments.report`: by profile, then how often each action was done, then what was not sent."""
    table = _table("PROFILE", "GENERATION", "PROJECT", "EDITION", "KEY", "TREATED", "LEFT OUT", "REFUSED", "ELEMENTS")
    for each in told["profiles"]:
        values = [each[name] for name in ("profile", "generation", "project", "edition", "keyId")]
        counts = [each[name] for name in ("treated", "leftOut", "quarantined", "elementsChanged")]
        table.add_row(*("" if value is None else Text(str(value)) for value in (*values, *counts)))
    yield table
    table = _table("PROFILE", "ACTION", "ELEMENTS")
    for each in told["profiles"]:
        for action, count in each["actions"].items():
            table.add_row(Text(each["profile"]), action, str(count))
    yield table
    refused = [("left out", each) for each in told["leftOut"]] + [("refused", each) for each in told["quarantined"]]
    if refused:
        table = _table("NOT SENT", "INSTANCES", "REASON", "PLACE")
        for what, each in refused:
            table.add_row(what, str(each["instances"]), Text(each["reason"]), each.get("place", ""))
        yield table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for column in columns:
        table.add_column(column)
    return table
