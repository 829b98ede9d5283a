"""Where a received object goes: the port between an association and who takes its objects over.

Implemented by `inbox` (and by the workers' mailboxes); called by `incoming`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adit_receiver.counts import Fate


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object that is being received, as far as it is known before its bulk has come."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str  # as it is sent
    sop_instance_uid: str
    transfer_syntax_uid: str
    own_sop_class_uid: str  # of its data set; empty where that names none
    move_message_id: int | None  # of the C-MOVE that it belongs to, where the sender says so


class Refused(Exception):  # noqa: N818 - what happened to it
    """The object cannot be taken. `status` is what its sender is told (PS3.4 B.2.3)."""

    def __init__(self, fate: Fate, status: int) -> None:
        super().__init__(str(fate))
        self.fate = fate
        self.status = status


class Outlet(Protocol):
    """One object on its way out. Calls raise Refused, after which only `abandon` may follow."""

    def write(self, piece: memoryview) -> None:
        """The next bytes of its encoded data set; valid during the call only."""
        ...

    def finish(self) -> None:
        """On return somebody else has the whole object, and its sender may forget it."""
        ...

    def abandon(self) -> None:
        """It will not be finished. Harmless after anything else."""
        ...


class Outlets(Protocol):
    """Where one association's objects go; used by one thread."""

    def open(self, arrival: Arrival) -> Outlet:
        """Raises Refused."""
        ...

    def close(self) -> None:
        """The association is over."""
        ...
