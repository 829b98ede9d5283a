"""What is known of nodes beside what their resources say. Called by admission, settlement, and who probes a node.

An observation counts only for the node as it is now: one that was edited since is another, of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, select, tuple_, update

from adit.ledger.connection import transaction
from adit.ledger.records import NodeKey
from adit.ledger.tables import attempt, node
from adit.model.assignment import Assignment, report_of
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings, Observation, is_probe_due, learned

_ASKED_FOR: Final = timedelta(minutes=10)
"""So long one attempt has for its probe before another is asked to."""


def findings_of(connection: Connection, keys: Collection[NodeKey] | None = None) -> dict[NodeKey, Findings]:
    """Of these nodes, or of all; those of which something is known."""
    query = select(node.c.namespace, node.c.name, node.c.findings).where(node.c.findings.is_not(None))
    if keys is not None:
        query = query.where(tuple_(node.c.namespace, node.c.name).in_(keys))
    return {(row.namespace, row.name): _read(row.findings) for row in connection.execute(query)}


def ask_for_probes(connection: Connection, nodes: Iterable[DicomNode], now: datetime) -> set[NodeKey]:
    """Those of the nodes that are due to be probed, by whoever calls: nobody else is asked for a while."""
    keys = {each.key for each in nodes if each.spec.services is not None}
    if not keys:
        return set()
    known = findings_of(connection, keys)
    due = {key for key in keys if is_probe_due(known.get(key, Findings()), now)}
    if not due:
        return set()
    statement = (
        update(node)
        .where(tuple_(node.c.namespace, node.c.name).in_(due))
        .where(node.c.probe_asked_at.is_(None) | (node.c.probe_asked_at <= now - _ASKED_FOR))
        .values(probe_asked_at=now)
        .returning(node.c.namespace, node.c.name)
    )
    return {(row.namespace, row.name) for row in connection.execute(statement)}


def learn(connection: Connection, resource: DicomNode, seen: Observation, now: datetime) -> bool:
    """False if nothing was new, or the node is not any more what was looked at."""
    namespace, name = resource.key
    where = (node.c.namespace == namespace) & (node.c.name == name)
    row = connection.execute(select(node.c.document, node.c.findings).where(where).with_for_update()).one_or_none()
    if row is None or row.document["spec"] != _spec(resource):
        return False
    before = _read(row.findings)
    after = learned(before, seen, now)
    if after is before:
        return False
    document = after.model_dump(mode="json", by_alias=True, exclude_none=True)
    connection.execute(update(node).where(where).values(findings=document))
    return True


def _spec(resource: DicomNode) -> Any:
    return resource.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _read(document: Any) -> Findings:
    """Those that another version wrote, and this one cannot read, are none."""
    try:
        return Findings() if document is None else Findings.model_validate(document)
    except ValidationError:
        return Findings()


def learn_from(engine: Engine, attempt_id: int, now: datetime) -> None:
    """What an attempt's report says of its nodes. A transaction for each: nobody holds two nodes at a time."""
    query = select(attempt.c.assignment, attempt.c.report).where(attempt.c.id == attempt_id)
    with transaction(engine) as connection:
        row = connection.execute(query.where(attempt.c.report[("observed", "0")].is_not(None))).one_or_none()
    if row is None:
        return
    try:
        assignment = Assignment.model_validate(row.assignment)
    except ValidationError:
        return  # another version's
    for seen in report_of(row.report).observed:
        for resource in (assignment.source, assignment.destination):
            if resource.metadata.name == seen.node:
                with transaction(engine) as connection:
                    learn(connection, resource, seen, now)
