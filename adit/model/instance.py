"""What is known of one instance of a task: the row that proves it arrived.

Written by the worker, stored by the ledger, listed in the manifest.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from adit.model.outcome import FaultCode

NOT_ASKED: Final = -1
"""In place of a DIMSE status: a row that says nothing of what the destination holds under its UID, as others do."""


class InstanceState(StrEnum):
    """Each step is proven before it is written; a fault leaves the last proven step standing."""

    EXPECTED = "Expected"  # the source says that it has it
    RECEIVED = "Received"  # we hold all of its bytes
    LEFT_OUT = "LeftOut"  # the profile excludes its kind: it was received, and by rule goes no further
    STORED = "Stored"  # the destination acknowledged it
    VERIFIED = "Verified"  # the destination, asked again, has it


class InstanceRecord(BaseModel):
    """One row of the ledger's instance table, keyed by task and SOP Instance UID."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str | None = None
    state: InstanceState
    transfer_syntax_uid: str | None = None  # as delivered to the destination
    size: int | None = None  # bytes of the encoded data set, as delivered
    sha256: str | None = None  # hex digest of the encoded data set, as delivered
    location: str | None = None  # where the destination keeps it, if we chose that (a folder's relative path)
    fault_code: FaultCode | None = None
    fault_message: str | None = None
    dimse_status: int | None = None
    sent_as: str | None = None  # its SOP Instance UID at the destination, where it left under another name
    treatment: str | None = None  # the digest of adit.model.treatment's record of what was done to it
