"""What a DeidProfile's status says. Pure; called by the status writer.

What a profile keeps beyond the standard is the site's decision; the status makes that it was taken easy to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from adit.model.deid_profile import DeidProfile, OverrideAction
from adit.model.pixel_policy import BurnedInUnknown
from adit.model.status import DeidProfileStatus
from adit_operator.conditions import conditions
from adit_operator.problem import Problem
from adit_operator.standing import standing

_SHOWN: Final = 20
_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class ProfileView:
    """All that a status is made of."""

    generation: int  # of the resource as it was last seen
    profile: DeidProfile | None = None  # as the ledger knows it
    problem: Problem | None = None  # why the last generation is not in the ledger


def profile_status(view: ProfileView, previous: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """The status document. None while there is nothing to say: the profile was seen by nobody."""
    keeps = () if view.profile is None else kept(view.profile)
    told = [] if view.profile is None else list(_told(view.profile, keeps))
    stands = standing("profile", view.generation, view.profile, view.problem, told)
    if stands is None:
        return None
    generation, observations = stands
    status = DeidProfileStatus(
        observed_generation=generation,
        conditions=conditions(observations, previous, generation, now),
        keeps=keeps[:_SHOWN],
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def kept(profile: DeidProfile) -> tuple[str, ...]:
    """What its overrides keep, as they name it."""
    overrides = (each for each in profile.spec.overrides if each.action is OverrideAction.KEEP)
    names = (
        " ".join(filter(None, (each.keyword, each.tag, each.path, each.private_creator, each.element)))
        for each in overrides
    )
    return tuple(dict.fromkeys(name[:_LONGEST] for name in names))


def _told(profile: DeidProfile, keeps: tuple[str, ...]) -> Iterator[str]:
    if keeps:
        yield f"Its overrides keep {', '.join(keeps)}: copies do not claim the standard's profile."
    if profile.spec.pixels.burned_in_unknown is BurnedInUnknown.PASS:
        yield "Text burned into pixels passes where no rule and no attribute tells of it."
