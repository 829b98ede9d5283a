"""Why a resource as it stands in the cluster is not taken into the ledger; field, rule and cure, never a value.

Made where resources are applied to the ledger, shown by the status writer.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from adit.ledger.resources import ResourceConflict
from adit.model.condition import ConditionReason
from adit.model.deid_profile import DeidProfile
from adit.model.invalid_resource import what_is_wrong


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one generation of a resource."""

    reason: ConditionReason  # Invalid or ChangeRefused
    message: str
    generation: int


def invalid(errors: ValidationError, model: type[BaseModel], generation: int) -> Problem:
    """It passes the CRD, and not the model."""
    return Problem(ConditionReason.INVALID, what_is_wrong(errors, model), generation)


def unusable(profile: DeidProfile, generation: int) -> Problem | None:
    """It passes the model, and cannot be compiled with the standard's table and dictionary; None if it can."""
    from adit.deid.policy import Policy, ProfileError  # with the tables: 4 MB for those who have profiles

    try:
        Policy(profile)
    except ProfileError as error:
        return Problem(ConditionReason.INVALID, f"{error}. Correct it and apply it again.", generation)
    return None


def change_refused(conflict: ResourceConflict, generation: int) -> Problem:
    """It changes what may not be changed, and the API server let it pass."""
    return Problem(ConditionReason.CHANGE_REFUSED, f"{conflict.field}: {conflict.message}.", generation)
