"""Whether jobs can name a resource: Accepted, Ready, and Stalled where it isn't so. Pure.

Nodes and profiles stand alike; called by their statuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from adit.model.condition import ConditionReason, ConditionType
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit_operator.conditions import Observation
from adit_operator.problem import Problem


def standing(
    noun: str, seen: int, known: DicomNode | DeidProfile | None, problem: Problem | None, told: Sequence[str] = ()
) -> tuple[int, list[Observation]] | None:
    """The generation that the status is about, and its conditions; None of a resource that was seen by nobody.

    `seen` is the generation as an event had it last, `known` the resource as the ledger has it, `problem` why
    that generation is not there. `told` is said beside that all is well.
    """
    if problem is not None:
        message = problem.message + (f" Jobs use the {noun} as it was before this change." if known else "")
        return max(problem.generation, 0), [
            Observation(ConditionType.ACCEPTED, False, problem.reason, message),
            Observation(
                ConditionType.READY,
                known is not None,
                ConditionReason.ACCEPTED if known else problem.reason,
                "Jobs use it as it was before." if known else "No job can use it.",
            ),
            Observation(ConditionType.STALLED, True, problem.reason, message),
        ]
    if known is None:
        return None
    generation = known.metadata.generation
    return max(seen if generation is None else generation, 0), [
        Observation(ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, " ".join([f"The {noun} is known.", *told])),
        Observation(ConditionType.READY, True, ConditionReason.ACCEPTED, "Jobs can name it."),
    ]
