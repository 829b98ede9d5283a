"""What was done to instances on their way, or why they went no further: the audit's record, the same for many of them.

Made by the worker, kept by the ledger, told by `adit deid report`. Places, actions and rules; never a value.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import cached_property
from hashlib import sha256

from pydantic import BaseModel, ConfigDict


class Decision(StrEnum):
    """What became of an instance that a profile was applied to."""

    TREATED = "Treated"
    LEFT_OUT = "LeftOut"  # the profile excludes its kind
    QUARANTINED = "Quarantined"  # it could not be made safe


class TreatmentRecord(BaseModel):
    """Slices of a series are treated alike, so that a task has few of these; instances name theirs by its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    generation: int | None = None  # of the profile's resource
    project: str
    edition: str  # of PS3.15
    key_id: str  # tells two keys apart, and nothing else about them
    subject: str | None = None  # a keyed pseudonym of whose they were, where a pseudonym was given
    decision: Decision
    reason: str | None = None  # why it was quarantined, or what is left out
    place: str | None = None  # the path of tags, of one that was quarantined
    changes: tuple[str, ...] = ()  # each as path, action and rule

    @cached_property
    def digest(self) -> str:
        """The same for the same record, whoever makes it and when."""
        document = self.model_dump(mode="json")
        return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]
