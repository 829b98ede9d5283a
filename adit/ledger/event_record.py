"""One line of a task's structured log, and the statement that writes a batch of them.

Shared by `events` (the dispatcher's side) and `attempt_ledger` (the worker's, which does without SQLAlchemy).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One line of a task's structured log."""

    task_id: int
    attempt_number: int | None
    at: datetime
    level: str  # info, warning, error
    code: str
    message: str
    detail: Mapping[str, object] = field(default_factory=dict)


_TYPES: Final = {
    "task_id": "bigint",
    "attempt_number": "integer",
    "at": "timestamptz",
    "level": "text",
    "code": "text",
    "message": "text",
    "detail": "jsonb",
}


def insert(placeholder: str) -> str:
    """The statement for `columns`, such as `:{}` makes a parameter of a name."""
    arrays = ", ".join(f"CAST({placeholder.format(name)} AS {type_}[])" for name, type_ in _TYPES.items())
    return f"INSERT INTO event ({', '.join(_TYPES)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - all from above


def columns(records: Sequence[EventRecord]) -> dict[str, list[Any]]:
    """An array for each column."""
    found: dict[str, list[Any]] = {name: [getattr(record, name) for record in records] for name in _TYPES}
    found["detail"] = [json.dumps(dict(detail)) for detail in found["detail"]]
    return found
