"""Trial: what is written into every instance of a job for a study that it belongs to.

Part of a TransferJob's spec and of each attempt's assignment; a file of its own, so that a worker need not build
the rest of the job's model.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from adit.model.identifiers import LongString
from adit.model.resource import Rule, Strict


class Trial(Strict):
    """Written into every instance as ClinicalTrialProtocolID (0012,0020) and -Name (0012,0021)."""

    protocol_id: LongString | None = Field(
        default=None, alias="protocolID", description="Becomes ClinicalTrialProtocolID (0012,0020)."
    )
    protocol_name: LongString | None = Field(default=None, description="Becomes ClinicalTrialProtocolName (0012,0021).")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.protocolID) || has(self.protocolName)",
            message="at least one of protocolID, protocolName must be given",
        ),
    )

    @model_validator(mode="after")
    def _something(self) -> Trial:
        if self.protocol_id is None and self.protocol_name is None:
            raise ValueError("at least one of protocolID, protocolName must be given")
        return self
