"""The port through which a node makes known where it waits for a C-MOVE's objects.

Implemented by the worker, on the ledger.
A node without one cannot fetch by C-MOVE.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from adit.model.mailbox import Mailbox


class Mailboxes(Protocol):
    """Calls raise TransferFault when nothing can be registered (any more)."""

    @property
    def host(self) -> str:
        """The address of ours at which receivers reach us."""
        ...

    @property
    def port(self) -> int:
        """The port, where only one is open to receivers; 0 if any will do."""
        ...

    def open(self, mailbox: Mailbox, study_instance_uid: str) -> int | None:
        """The message id to send C-MOVE with; None while somebody else's C-MOVE of the study is on, or may be."""
        ...

    def close(self, mailbox_id: UUID, *, broke_off: bool) -> None:
        """`broke_off` tells that the peer may not have ended yet."""
        ...
