"""Why a job's tasks do not start now, for the people who watch. Called by the command line. Pure.

Derived each time from the same rules that hold the tasks back, so it can neither be stale nor disagree
with them. Budgets are not told of: whoever waits for a slot is served as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from adit.dispatch.accept import accept
from adit.dispatch.window import is_open, next_open
from adit.ledger.records import JobRecord, NodeKey
from adit.model.dicom_node import DicomNode


def waiting(
    record: JobRecord, nodes: Mapping[NodeKey, DicomNode], now: datetime, failed_job: JobRecord | None = None
) -> str | None:
    """One sentence, or None when nothing but a budget holds the job's tasks back, or it has ended.

    `failed_job` is the ledger's record of the job that `selection.failedOf` names, if there is one.
    """
    if record.ended_at is not None or record.job.spec.cancel is not None:
        return None
    if record.job.spec.suspend:
        return "Suspended: no task starts until spec.suspend is unset."
    fault = accept(record.job, nodes, failed_job) if record.expanded_at is None else None
    return str(fault) if fault is not None else _closed_window(record, nodes, now)


def _closed_window(record: JobRecord, nodes: Mapping[NodeKey, DicomNode], now: datetime) -> str | None:
    """Of two closed windows the one that opens later is what is waited for."""
    spec = record.job.spec
    named = (nodes.get((record.job.metadata.namespace, end.node)) for end in (spec.source, spec.destination))
    closed = [node for node in named if node is not None and not is_open(node.spec.windows, now)]
    if not closed:
        return None
    opens, name = max((next_open(node.spec.windows, now), node.metadata.name) for node in closed)
    return f"The windows of DicomNode {name} are closed until {opens.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
