"""Whether there is room for one more association: memory, and disk where an inbox needs it.

Asked by `listener` for each association, and by `main` for the readiness probe.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

import structlog

from adit_receiver.settings import ReceiverSettings

_log = structlog.get_logger(__name__)
_STATUS: Final = Path("/proc/self/statm")
_FRESH: Final = 1.0  # seconds for which an answer holds


class Room:
    """Asks the kernel at most once a second."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._asked = -_FRESH
        self._lacking: str | None = None
        limit = settings.memory_limit
        self._memory = settings.memory_bytes if limit is None else min(settings.memory_bytes, limit * 4 // 5)

    @property
    def lacking(self) -> str | None:
        """What there is too little of, as a word; None while there is enough of all."""
        now = time.monotonic()
        if now - self._asked >= _FRESH:
            lacking, self._asked = self._look(), now
            if lacking != self._lacking:
                self._lacking = lacking
                self._tell()
        return self._lacking

    def _tell(self) -> None:
        """A pod that is not ready is asked for no association, and would say nothing of it."""
        if self._lacking is None:
            _log.info("there is room again")
        else:
            _log.warning("there is no room for associations", lacking=self._lacking)

    def _look(self) -> str | None:
        if _memory() > self._memory:
            return "memory"
        inbox = self._settings.inbox
        if inbox is not None:
            try:
                free = shutil.disk_usage(inbox).free
            except OSError:
                return "inbox"
            if free < self._settings.free_bytes:
                return "disk"
        return None


def _memory() -> int:
    """Bytes of this process in memory; 0 where the kernel does not tell."""
    try:
        return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
