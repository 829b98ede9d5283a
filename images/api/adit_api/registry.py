"""Where resources live: a small port with two implementations, the API server of a cluster and the ledger.

The facade creates and changes resources here and nowhere else; what became of them it reads from the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob

Key = tuple[str, str]
"""Namespace and name."""

Steered = Literal["suspend", "cancel"]
"""The fields of a TransferJob that the facade changes."""

MANAGER: Final = "adit-api"
"""Who we are to the API server, in managedFields."""


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A TransferJob as the registry has it."""

    job: TransferJob
    created_at: datetime
    uid: str | None = None  # the resource's, and later its record's


class NotThere(Exception):  # noqa: N818 - a state
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class AlreadyThere(Exception):  # noqa: N818 - a state
    """A resource of that name exists."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class KeptInGit(Exception):  # noqa: N818 - a state
    """The field or resource is described in git: a change here would be undone, or would undo what git says."""

    def __init__(self, what: str, keeper: str) -> None:
        super().__init__(f"{what} is kept in git by {keeper}, which would undo a change made here. Change it in git.")


class RegistryUnavailable(Exception):  # noqa: N818 - a state
    """The API server gave no answer, or asked for patience. What was asked for may have happened."""

    def __init__(self, retry_after: int = 5) -> None:
        super().__init__("unavailable")
        self.retry_after = retry_after


class RegistryRefused(Exception):  # noqa: N818 - a state
    """The API server said no: a rule of the CRD, a quota, a policy, or our rights. `told` names no values."""

    def __init__(self, status: int, told: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(told)
        self.status = status
        self.told = told
        self.fields = fields


class Registry(Protocol):
    """Threads share it. Every call may raise RegistryUnavailable or LedgerUnavailable, and RegistryRefused."""

    def create(self, job: TransferJob) -> FoundJob:
        """Raises AlreadyThere."""
        ...

    def find(self, key: Key) -> FoundJob | None: ...

    def change(self, key: Key, field: Steered, value: bool | str | None) -> FoundJob:
        """One field of the spec; None takes it out. Raises NotThere, KeptInGit and ResourceConflict."""
        ...

    def find_node(self, key: Key) -> DicomNode | None: ...

    def find_profile(self, key: Key) -> DeidProfile | None: ...

    def apply(self, resource: DicomNode | DeidProfile) -> bool:
        """Create or replace it; whether it is new. Raises KeptInGit and ResourceConflict."""
        ...
