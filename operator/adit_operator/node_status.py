"""What a DicomNode's status says. Pure; called by the status writer.

What a node offers and how its roads do is what workers found: the operator itself speaks to no peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adit.model.condition import ConditionReason, ConditionType
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings
from adit.model.status import DicomNodeStatus, NodeRoad
from adit_operator.conditions import Observation, conditions
from adit_operator.problem import Problem


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
    if view.problem is not None:
        generation = max(view.problem.generation, 0)
        known = view.node is not None
        message = view.problem.message + (" Jobs use the node as it was before this change." if known else "")
        observations = [
            Observation(ConditionType.ACCEPTED, False, view.problem.reason, message),
            Observation(
                ConditionType.READY,
                known,
                ConditionReason.ACCEPTED if known else view.problem.reason,
                "Jobs use it as it was before." if known else "No job can use it.",
            ),
            Observation(ConditionType.STALLED, True, view.problem.reason, message),
        ]
    elif view.node is not None:
        known_generation = view.node.metadata.generation
        generation = max(view.generation if known_generation is None else known_generation, 0)
        observations = [
            Observation(ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, "The node is known."),
            Observation(ConditionType.READY, True, ConditionReason.ACCEPTED, "Jobs can name it."),
        ]
    else:
        return None
    status = DicomNodeStatus(
        observed_generation=generation,
        conditions=conditions(observations, previous, generation, now),
        active_tasks=view.active_tasks,
        last_probe_time=view.findings.probed_at,
        services=view.findings.services,
        roads=tuple(NodeRoad.model_validate(road.model_dump()) for road in view.findings.roads),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
