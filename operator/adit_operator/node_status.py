"""What a DicomNode's status says. Pure; called by the status writer.

What a node offers and how its roads do is what workers found: the operator itself speaks to no peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings
from adit.model.status import DicomNodeStatus, NodeRoad
from adit_operator.conditions import conditions
from adit_operator.problem import Problem
from adit_operator.standing import standing


@dataclass(frozen=True, slots=True)
class NodeView:
    """All that a status is made of."""

    generation: int  # of the resource as it was last seen
    node: DicomNode | None = None  # as the ledger knows it
    problem: Problem | None = None  # why the last generation is not in the ledger
    active_tasks: int = 0
    findings: Findings = field(default_factory=Findings)


def node_status(view: NodeView, previous: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """The status document. None while there is nothing to say: the node was seen by nobody."""
    stands = standing("node", view.generation, view.node, view.problem)
    if stands is None:
        return None
    generation, observations = stands
    status = DicomNodeStatus(
        observed_generation=generation,
        conditions=conditions(observations, previous, generation, now),
        active_tasks=view.active_tasks,
        last_probe_time=view.findings.probed_at,
        services=view.findings.services,
        roads=tuple(NodeRoad.model_validate(road.model_dump()) for road in view.findings.roads),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
