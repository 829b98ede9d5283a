"""Where objects go that a worker asked for: to its mailbox, over the relay. Made by `main` for each association.

The ledger is asked once for the first object of a C-MOVE; the others take the connection that the first one made. What
no mailbox is open for goes to the inbox, if there is one, and is refused otherwise.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final
from uuid import UUID

import structlog

from adit.dicom.dimse.status import OUT_OF_RESOURCES, SUCCESS
from adit.dicom.relay.frames import Header
from adit.dicom.relay.sender import Sender
from adit.ledger.mailbox_directory import LedgerError, LedgerUnavailable, MailboxDirectory
from adit.model.mailbox import Mailbox
from adit_receiver.counts import Fate
from adit_receiver.outlet import Arrival, Outlet, Outlets, Refused

_log = structlog.get_logger(__name__)
_ASK_AGAIN: Final = (0.2, 1.0, 3.0)  # seconds before a ledger that is away is asked again
_Key = tuple[str, str, int | None]  # study, series, message id


class Forwarding:
    """Implements `Outlets`. `unclaimed` takes what nobody waits for."""

    def __init__(self, directory: MailboxDirectory, unclaimed: Outlets) -> None:
        self._directory = directory
        self._unclaimed = unclaimed
        self._known: dict[_Key, UUID] = {}
        self._senders: dict[UUID, Sender] = {}

    def open(self, arrival: Arrival) -> Outlet:
        key = (arrival.study_instance_uid, arrival.series_instance_uid, arrival.move_message_id)
        sender = self._at_hand(key)
        if sender is None:
            mailbox = self._find(key)
            if mailbox is None:
                return self._unclaimed.open(arrival)
            sender = self._senders.get(mailbox.id) or self._connect(mailbox)
            self._known[key] = mailbox.id
        return Forwarded(sender, arrival)

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        self._unclaimed.close()

    def _at_hand(self, key: _Key) -> Sender | None:
        """A connection to a mailbox that is still open. Forgets the others: a worker closes them with its mailbox."""
        for mailbox_id, sender in list(self._senders.items()):
            if sender.has_ended:
                sender.close()
                del self._senders[mailbox_id]
        known = self._known.get(key)
        if known is not None and known in self._senders:
            return self._senders[known]
        self._known.pop(key, None)
        return None

    def _find(self, key: _Key) -> Mailbox | None:
        for wait in (*_ASK_AGAIN, None):
            try:
                return self._directory.find(*key)
            except LedgerUnavailable:
                if wait is not None:
                    time.sleep(wait)
            except LedgerError as error:
                _log.error("the ledger refuses", reason=str(error))
                break
        raise Refused(Fate.LEDGER_AWAY, OUT_OF_RESOURCES)

    def _connect(self, mailbox: Mailbox) -> Sender:
        try:
            sender = Sender(mailbox)
        except OSError as error:
            _log.warning("a worker cannot be reached", mailbox=str(mailbox.id), reason=type(error).__name__)
            raise Refused(Fate.LOST, OUT_OF_RESOURCES) from None
        self._senders[mailbox.id] = sender
        return sender


class Forwarded:
    """Implements `Outlet`: one object on its way to a worker."""

    def __init__(self, sender: Sender, arrival: Arrival) -> None:
        self._sender = sender
        try:
            sender.begin(
                Header(
                    arrival.study_instance_uid,
                    arrival.series_instance_uid,
                    arrival.sop_class_uid,
                    arrival.sop_instance_uid,
                    arrival.transfer_syntax_uid,
                )
            )
        except OSError:
            raise self._lost() from None

    def write(self, piece: memoryview) -> None:
        try:
            self._sender.write(piece)
        except OSError:
            raise self._lost() from None

    def finish(self) -> None:
        try:
            status = self._sender.finish()
        except OSError:
            raise self._lost() from None
        if status != SUCCESS:
            raise Refused(Fate.REFUSED, status)

    def abandon(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._sender.abandon()

    def _lost(self) -> Refused:
        self._sender.close()  # in whatever state it was: the next object needs another
        return Refused(Fate.LOST, OUT_OF_RESOURCES)
