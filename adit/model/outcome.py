"""The closed vocabulary of endings: how an attempt ended, and which fault made it so.

The worker reports in these words, the dispatcher's retry rules are bound to them, and users read
them in the ledger and the manifest. Nothing anywhere matches on a message's text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict


class Outcome(StrEnum):
    """How one attempt at a task ended."""

    SUCCESS = "Success"
    PARTIAL = "Partial"
    EMPTY = "Empty"
    PERMANENT_DATA_FAULT = "PermanentDataFault"
    PERMANENT_CONFIGURATION_FAULT = "PermanentConfigurationFault"
    TRANSIENT_FAULT = "TransientFault"
    DEADLINE = "Deadline"
    CANCELLED = "Cancelled"
    BUG = "Bug"


EXIT_CODES: Final[dict[Outcome, int]] = {
    Outcome.SUCCESS: 0,
    Outcome.PERMANENT_DATA_FAULT: 10,
    Outcome.EMPTY: 11,
    Outcome.PERMANENT_CONFIGURATION_FAULT: 20,
    Outcome.TRANSIENT_FAULT: 30,
    Outcome.DEADLINE: 40,
    Outcome.PARTIAL: 41,
    Outcome.BUG: 50,
    Outcome.CANCELLED: 143,
}
"""Exit code of the worker process for each outcome; part of the contract with the launcher."""

EXIT_CONTRACT_MISMATCH: Final = 64
"""Exit code of a worker that was given no attempt, or one that it may not work on (fenced)."""


class FaultCode(StrEnum):
    """What went wrong (or deserves a warning). CamelCase, so that it can be a condition's reason."""

    # transient: the same attempt later may well succeed
    NODE_UNREACHABLE = "NodeUnreachable"
    ASSOCIATION_REJECTED_TRANSIENT = "AssociationRejectedTransient"
    ASSOCIATION_ABORTED = "AssociationAborted"
    NODE_TIMEOUT = "NodeTimeout"
    OUT_OF_RESOURCES = "OutOfResources"
    QUERY_FAILED = "QueryFailed"
    FETCH_FAILED = "FetchFailed"
    STORE_FAILED = "StoreFailed"
    DISK_FULL = "DiskFull"
    IO_FAILED = "IoFailed"
    NOT_PROVEN = "NotProven"
    INTERRUPTED = "Interrupted"
    LOST = "Lost"
    OUT_OF_MEMORY = "OutOfMemory"
    OUT_OF_DISK = "OutOfDisk"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    MACHINE_LOST = "MachineLost"
    WORKER_DELETED = "WorkerDeleted"
    CONTRACT_MISMATCH = "ContractMismatch"
    LAUNCH_REFUSED = "LaunchRefused"
    LAUNCH_FORBIDDEN = "LaunchForbidden"
    POD_REFUSED = "PodRefused"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    UNSCHEDULABLE = "Unschedulable"
    START_FAILED = "StartFailed"
    # partial and empty: the source gave less than it announced
    INCOMPLETE = "Incomplete"
    NOTHING_RECEIVED = "NothingReceived"
    # permanent: about the data
    STUDY_NOT_FOUND = "StudyNotFound"
    STUDY_AMBIGUOUS = "StudyAmbiguous"
    SERIES_NOT_FOUND = "SeriesNotFound"
    SOP_CLASS_REFUSED = "SOPClassRefused"
    TRANSFER_SYNTAX_REFUSED = "TransferSyntaxRefused"
    INSTANCE_REFUSED = "InstanceRefused"
    INSTANCE_UNREADABLE = "InstanceUnreadable"
    INSTANCE_CONFLICT = "InstanceConflict"
    DEIDENTIFICATION_REFUSED = "DeidentificationRefused"
    NOTHING_TO_SEND = "NothingToSend"
    # permanent: about the configuration
    ASSOCIATION_REJECTED = "AssociationRejected"
    SERVICE_NOT_OFFERED = "ServiceNotOffered"
    NODE_NOT_FOUND = "NodeNotFound"
    SELECTION_NOT_FOUND = "SelectionNotFound"
    JOB_NOT_FOUND = "JobNotFound"
    JOB_NOT_FINISHED = "JobNotFinished"
    JOB_NOT_RETRIABLE = "JobNotRetriable"
    MOVE_DESTINATION_UNKNOWN = "MoveDestinationUnknown"
    TLS_FAILED = "TLSFailed"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a fault's name
    FOLDER_MISSING = "FolderMissing"
    PERMISSION_DENIED = "PermissionDenied"
    TOO_MANY_OBJECTS = "TooManyObjects"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    DEIDENTIFICATION_UNAVAILABLE = "DeidentificationUnavailable"
    # endings that nobody can mend
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    CANCELLED = "Cancelled"
    UNEXPECTED = "Unexpected"
    # warnings: the transfer is complete, but someone should look
    PATIENT_ID_MISMATCH = "PatientIDMismatch"
    ARRIVAL_NOT_PROVABLE = "ArrivalNotProvable"
    STORED_WITH_WARNING = "StoredWithWarning"
    FETCHED_WITH_WARNING = "FetchedWithWarning"


INFRASTRUCTURE_FAULTS: Final = frozenset(
    {
        FaultCode.LOST,
        FaultCode.INTERRUPTED,
        FaultCode.OUT_OF_MEMORY,
        FaultCode.OUT_OF_DISK,
        FaultCode.EVICTED,
        FaultCode.PREEMPTED,
        FaultCode.MACHINE_LOST,
        FaultCode.WORKER_DELETED,
        FaultCode.CONTRACT_MISMATCH,
    }
)
"""Faults of the place where the worker ran; retried on a budget of their own."""

UNSTARTED_FAULTS: Final = frozenset(
    {
        FaultCode.LAUNCH_REFUSED,
        FaultCode.LAUNCH_FORBIDDEN,
        FaultCode.POD_REFUSED,
        FaultCode.IMAGE_UNAVAILABLE,
        FaultCode.UNSCHEDULABLE,
        FaultCode.START_FAILED,
    }
)
"""Faults that kept a worker from starting: nothing was tried, so they cost the task no attempt."""

_TRANSIENT = {
    FaultCode.NODE_UNREACHABLE,
    FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
    FaultCode.ASSOCIATION_ABORTED,
    FaultCode.NODE_TIMEOUT,
    FaultCode.OUT_OF_RESOURCES,
    FaultCode.QUERY_FAILED,
    FaultCode.FETCH_FAILED,
    FaultCode.STORE_FAILED,
    FaultCode.DISK_FULL,
    FaultCode.IO_FAILED,
    FaultCode.NOT_PROVEN,
    *INFRASTRUCTURE_FAULTS,
    *UNSTARTED_FAULTS,
}
_PERMANENT_DATA = {
    FaultCode.STUDY_NOT_FOUND,
    FaultCode.STUDY_AMBIGUOUS,
    FaultCode.SERIES_NOT_FOUND,
    FaultCode.SOP_CLASS_REFUSED,
    FaultCode.TRANSFER_SYNTAX_REFUSED,
    FaultCode.INSTANCE_REFUSED,
    FaultCode.INSTANCE_UNREADABLE,
    FaultCode.INSTANCE_CONFLICT,
    FaultCode.DEIDENTIFICATION_REFUSED,
    FaultCode.NOTHING_TO_SEND,
}
_PERMANENT_CONFIGURATION = {
    FaultCode.ASSOCIATION_REJECTED,
    FaultCode.SERVICE_NOT_OFFERED,
    FaultCode.NODE_NOT_FOUND,
    FaultCode.SELECTION_NOT_FOUND,
    FaultCode.JOB_NOT_FOUND,
    FaultCode.JOB_NOT_FINISHED,
    FaultCode.JOB_NOT_RETRIABLE,
    FaultCode.MOVE_DESTINATION_UNKNOWN,
    FaultCode.TLS_FAILED,
    FaultCode.SECRET_MISSING,
    FaultCode.FOLDER_MISSING,
    FaultCode.PERMISSION_DENIED,
    FaultCode.TOO_MANY_OBJECTS,
    FaultCode.PROFILE_NOT_FOUND,
    FaultCode.DEIDENTIFICATION_UNAVAILABLE,
}
WARNINGS: Final = frozenset(
    {
        FaultCode.PATIENT_ID_MISMATCH,
        FaultCode.ARRIVAL_NOT_PROVABLE,
        FaultCode.STORED_WITH_WARNING,
        FaultCode.FETCHED_WITH_WARNING,
    }
)
"""Faults that leave a transfer complete: the task ends as a warning, never as plain success."""

OUTCOME_OF_FAULT: Final[dict[FaultCode, Outcome]] = {
    **dict.fromkeys(_TRANSIENT, Outcome.TRANSIENT_FAULT),
    **dict.fromkeys(_PERMANENT_DATA, Outcome.PERMANENT_DATA_FAULT),
    **dict.fromkeys(_PERMANENT_CONFIGURATION, Outcome.PERMANENT_CONFIGURATION_FAULT),
    FaultCode.INCOMPLETE: Outcome.PARTIAL,
    FaultCode.NOTHING_RECEIVED: Outcome.EMPTY,
    FaultCode.DEADLINE_EXCEEDED: Outcome.DEADLINE,
    FaultCode.CANCELLED: Outcome.CANCELLED,
    FaultCode.UNEXPECTED: Outcome.BUG,
    **dict.fromkeys(WARNINGS, Outcome.SUCCESS),
}
"""The outcome that each fault leads to when it is what ended the attempt. Total over FaultCode."""


class Fault(BaseModel):
    """One fault as it is told to people: what, where, and what to do about it.

    `message` and `cure` never hold patient names or ids; UIDs are allowed. `status` is the DIMSE
    status (PS3.7 Annex C) where a peer gave one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: FaultCode
    message: str
    cure: str = ""
    node: str | None = None
    sop_instance_uid: str | None = None
    status: int | None = None

    @property
    def outcome(self) -> Outcome:
        return OUTCOME_OF_FAULT[self.code]

    def as_json(self) -> dict[str, object]:
        """For JSON that leaves the system, in the names that resources and the API have; the ledger keeps its own."""
        told: dict[str, object] = {"code": str(self.code), "message": self.message, "cure": self.cure}
        return told | {"node": self.node, "sopInstanceUID": self.sop_instance_uid, "status": self.status}

    def __str__(self) -> str:
        where = f" [node {self.node}]" if self.node else ""
        what = f" [instance {self.sop_instance_uid}]" if self.sop_instance_uid else ""
        status = f" [status 0x{self.status:04X}]" if self.status is not None else ""
        cure = f" {self.cure}" if self.cure else ""
        return f"{self.code}: {self.message.removesuffix('.')}{where}{what}{status}.{cure}"


class TransferFault(Exception):  # noqa: N818 - it carries a Fault
    """Raised wherever work on a task cannot go on; the only exception that crosses a port."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault
