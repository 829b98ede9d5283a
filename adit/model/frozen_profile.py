"""A DeidProfile inside another model, which builds its model only when there is one.

Used by `assignment`: most workers have no profile, and each process would pay for the model at its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator

if TYPE_CHECKING:
    from adit.model.deid_profile import DeidProfile


def _read(value: object) -> DeidProfile:
    from adit.model.deid_profile import DeidProfile

    return DeidProfile.model_validate(value)


def _written(value: Any) -> dict[str, Any]:
    document: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)
    return document


if TYPE_CHECKING:
    FrozenProfile = DeidProfile
else:
    FrozenProfile = Annotated[Any, PlainValidator(_read), PlainSerializer(_written)]
