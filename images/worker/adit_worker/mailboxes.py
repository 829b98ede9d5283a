"""The worker's mailboxes in the ledger: where it waits for what a peer sends by C-MOVE. Made by `main`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from adit.ledger.attempt_ledger import AttemptLedger, Fenced, LedgerError, LedgerUnavailable
from adit.model.mailbox import Mailbox
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.transfer.halt import FAULTS, Reason

_AWAY: Final = Fault(
    code=FaultCode.FETCH_FAILED,
    message="The ledger was away when a mailbox was to be opened for C-MOVE.",
    cure="See that Postgres is up and reachable from the worker.",
)


class LedgerMailboxes:
    """Implements `adit.dicom.dimse.mailboxes.Mailboxes`."""

    def __init__(self, ledger: AttemptLedger, host: str, port: int, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._host = host
        self._port = port
        self._clock = clock

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        return self._port

    def open(self, mailbox: Mailbox, study_instance_uid: str) -> int | None:
        try:
            return self._ledger.open_mailbox(mailbox, study_instance_uid, None, self._clock())
        except LedgerUnavailable:
            raise TransferFault(_AWAY) from None
        except Fenced:
            raise TransferFault(FAULTS[Reason.FENCED]) from None

    def close(self, mailbox_id: UUID, *, broke_off: bool) -> None:
        """If the ledger is away, the attempt's next mailbox closes it, or the attempt's end."""
        with suppress(LedgerUnavailable, LedgerError):
            self._ledger.close_mailbox(mailbox_id, self._clock(), broke_off=broke_off)
