"""A mailbox: where a worker waits for the objects that it asked a peer to send to the receiver (C-MOVE).

Kept in the ledger while the C-MOVE is on; made by `adit.dicom.relay`, found by the receiver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Its address, and the secret that proves both sides to each other; good for this one C-MOVE."""

    id: UUID
    host: str
    port: int
    secret: str = field(repr=False)  # hex
