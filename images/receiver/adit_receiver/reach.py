"""Whether the ledger has ever answered this receiver: until then it is not ready, and a wrong login stops a rollout.

Asked by `main` for the readiness probe. Later absences of the ledger do not count: each object that comes meanwhile is
refused with a word of its own, and open associations must go on.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog

from adit.ledger.mailbox_directory import LedgerError, LedgerUnavailable, MailboxDirectory

_log = structlog.get_logger(__name__)
_PAUSE: Final = 1.0
_NOBODYS: Final = ("0", "0", None)


class Reach:
    """Asks in a thread of its own, until it is answered."""

    def __init__(self, directory: MailboxDirectory) -> None:
        self._directory = directory
        self._answered = threading.Event()
        threading.Thread(target=self._ask, name="reach", daemon=True).start()

    @property
    def lacking(self) -> str | None:
        """As a word; None once the ledger has answered."""
        return None if self._answered.is_set() else "ledger"

    def _ask(self) -> None:
        told = ""
        while not self._answered.is_set():
            try:
                self._directory.find(*_NOBODYS)
            except (LedgerUnavailable, LedgerError) as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("the ledger does not answer", reason=told)
                threading.Event().wait(_PAUSE)
            else:
                self._answered.set()
