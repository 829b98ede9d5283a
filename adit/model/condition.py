"""The words of conditions: their types, and the closed vocabulary of reasons beside the fault codes.

Written by the operator's job_status, node_status and profile_status, read by people, kubectl, kstatus and Argo CD.
docs/conditions.md says of each what it means and what to do; a test holds it complete.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from adit.model.outcome import FaultCode


class ConditionType(StrEnum):
    """What is observed."""

    ACCEPTED = "Accepted"
    EXPANDED = "Expanded"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


JOB_CONDITIONS: Final = (
    ConditionType.ACCEPTED,
    ConditionType.EXPANDED,
    ConditionType.SUSPENDED,
    ConditionType.COMPLETE,
    ConditionType.FAILED,
)
"""Always listed in a TransferJob's status, from the first visit on."""

NODE_CONDITIONS: Final = (ConditionType.ACCEPTED, ConditionType.READY)
"""Always listed in the status of a DicomNode or DeidProfile, from the first visit on."""

WHILE_TRUE: Final = (ConditionType.RECONCILING, ConditionType.STALLED)
"""Listed only while they are True, and never both: kstatus reads Reconciling as in progress, Stalled as failed."""


class ConditionReason(StrEnum):
    """Why a condition has its status, where it is no fault that says so."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    CHANGE_REFUSED = "ChangeRefused"
    NOT_ACCEPTED = "NotAccepted"
    MAKING_TASKS = "MakingTasks"
    TASKS_MADE = "TasksMade"
    SUSPENDED = "Suspended"
    NOT_SUSPENDED = "NotSuspended"
    WAITING = "Waiting"
    RUNNING = "Running"
    CANCELING = "Canceling"
    ALL_PROVEN = "AllProven"
    NOTHING_TO_TRANSFER = "NothingToTransfer"
    ENDED_WITH_WARNINGS = "EndedWithWarnings"
    TASKS_FAILED = "TasksFailed"


Because = ConditionReason | FaultCode
"""A condition's reason: one of ours, or the fault that is the reason. The two share no word."""
