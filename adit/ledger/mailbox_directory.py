"""Which worker waits for an object: the receiver's view of the ledger, and all that it may see there.

Connects as a member of the restricted role `adit_receiver`, with one connection. Called by `adit_receiver` for the
first object of each C-MOVE that an association brings.
"""

from __future__ import annotations

from typing import Final

from adit.ledger.postgres_session import LedgerError, LedgerUnavailable
from adit.ledger.worker_connection import WorkerConnection
from adit.model.mailbox import Mailbox

__all__ = ["LedgerError", "LedgerUnavailable", "MailboxDirectory"]

_FIND: Final = "SELECT id, host, port, secret FROM adit_find_mailbox(%(study)s, %(series)s, %(message)s)"


class MailboxDirectory:
    """Threads take turns."""

    def __init__(self, url: str) -> None:
        self._connection = WorkerConnection(url, None)

    def find(self, study_instance_uid: str, series_instance_uid: str, message_id: int | None) -> Mailbox | None:
        """The mailbox that is open for such an object; `message_id` is the Move Originator's, where it came with one.

        Raises LedgerUnavailable and LedgerError.
        """
        values = {"study": study_instance_uid, "series": series_instance_uid, "message": message_id}
        with self._connection.transaction() as connection:
            row = connection.execute(_FIND, values).fetchone()
        return None if row is None else Mailbox(*row)

    def close(self) -> None:
        """Give the connection back. May be called twice."""
        self._connection.close()
