"""What was done to a task's instances: written by its worker, counted when an attempt is settled, told in reports.

Kept as long as the task: they name nobody, and without them nobody could tell later what had left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, func, select, text

from adit.ledger.tables import task, treatment
from adit.ledger.treatment_rows import record_of
from adit.model.treatment import Decision, TreatmentRecord

_COUNT: Final = text(
    """
    UPDATE treatment SET instances = (
        SELECT count(*) FROM instance
        WHERE instance.job_created_on = :created_on AND instance.task_id = treatment.task_id
              AND instance.treatment = treatment.digest
    )
    WHERE task_id = :task_id
    """
)


@dataclass(frozen=True, slots=True)
class TreatmentCount:
    """One record, and how many instances of a job it holds for."""

    record: TreatmentRecord
    instances: int


def count(connection: Connection, task_id: int, created_on: date) -> None:
    """Writes down how many instances each record of a task holds for, as its rows will be dropped one day."""
    connection.execute(_COUNT, {"task_id": task_id, "created_on": created_on})


def of_job(connection: Connection, job_id: UUID) -> Iterator[TreatmentCount]:
    """Each record of a job once; those of settled attempts, whose instances are counted."""
    query = (
        select(treatment.c.document, treatment.c.changes, func.sum(treatment.c.instances).label("instances"))
        .join(task, task.c.id == treatment.c.task_id)
        .where(task.c.job_id == job_id, treatment.c.instances > 0)
        .group_by(treatment.c.digest, treatment.c.document, treatment.c.changes)
        .order_by(treatment.c.digest)
    )
    for row in connection.execute(query):
        yield TreatmentCount(record_of(row.document, row.changes), int(row.instances))


def report(counted: Sequence[TreatmentCount]) -> dict[str, Any]:
    """JSON-ready: by which profile, how often each action was done, and what did not leave and why."""
    by: dict[tuple[Any, ...], dict[str, Any]] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for each in counted:
        record = each.record
        key = (record.profile, record.generation, record.project, record.edition, record.key_id)
        group = by.setdefault(key, {**dict.fromkeys(Decision, 0), "actions": Counter(), "elements": 0})
        group[record.decision] += each.instances
        for change in record.changes:
            group["actions"][change.split(" ", 2)[1]] += each.instances
            group["elements"] += each.instances
        if record.decision is not Decision.TREATED:
            reasons[record.decision, record.reason or "", record.place or ""] += each.instances
    return {
        "profiles": [_group(key, group) for key, group in sorted(by.items(), key=lambda item: str(item[0]))],
        "leftOut": _reasons(reasons, Decision.LEFT_OUT),
        "quarantined": _reasons(reasons, Decision.QUARANTINED),
    }


def _group(key: tuple[Any, ...], group: dict[str, Any]) -> dict[str, Any]:
    names = ("profile", "generation", "project", "edition", "keyId")
    counts = {"treated": Decision.TREATED, "leftOut": Decision.LEFT_OUT, "quarantined": Decision.QUARANTINED}
    return {
        **dict(zip(names, key, strict=True)),
        **{name: group[decision] for name, decision in counts.items()},
        "elementsChanged": group["elements"],
        "actions": dict(sorted(group["actions"].items())),
    }


def _reasons(reasons: Counter[tuple[str, str, str]], decision: Decision) -> list[dict[str, Any]]:
    """The most frequent first."""
    found = [(number, reason, place) for (kind, reason, place), number in reasons.items() if kind == decision]
    found.sort(key=lambda each: (-each[0], each[1:]))
    return [
        {"instances": number, "reason": reason} | ({"place": place} if place else {}) for number, reason, place in found
    ]
