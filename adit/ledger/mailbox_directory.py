"""Which worker waits for an object: the receiver's view of the ledger, and all that it may see there.

Connects as a member of the restricted role `adit_receiver`, with one connection. Called by `adit_receiver` for the
first object of each C-MOVE that an association brings.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from adit.ledger.postgres_session import LedgerError, LedgerUnavailable
from adit.ledger.worker_connection import WorkerConnection
from adit.model.mailbox import Mailbox

__all__ = ["LedgerError", "LedgerUnavailable", "MailboxDirectory"]

_FIND: Final = "SELECT id, host, port, secret FROM adit_find_mailbox(%(study)s, %(series)s, %(message)s, %(now)s)"


class MailboxDirectory:
    """Threads take turns. `clock` gives aware UTC times."""

    def __init__(self, url: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._connection = WorkerConnection(url, None)
        self._clock = clock

    def find(self, study_instance_uid: str, series_instance_uid: str, message_id: int | None) -> Mailbox | None:
        """The mailbox that is open for such an object; `message_id` is the Move Originator's, where it came with one.

        That there is none is noted where a C-MOVE of the study broke off lately: its source sends on.
        Raises LedgerUnavailable and LedgerError.
        """
        values: dict[str, Any] = {"study": study_instance_uid, "series": series_instance_uid, "message": message_id}
        values["now"] = self._clock()
        with self._connection.transaction() as connection:
            row = connection.execute(_FIND, values).fetchone()
        return None if row is None else Mailbox(*row)

    def close(self) -> None:
        """Give the connection back. May be called twice."""
        self._connection.close()
