"""Why workers' pods had to go: who preempts, drains or loses them deletes them, so that later nobody can ask them.

The watch tells of each pod as it fails; the launcher asks when it settles the attempt. All of it may be forgotten.
"""

from __future__ import annotations

import threading
from typing import Final

from adit.model.outcome import Fault

_REMEMBERED: Final = 1000


class Disruptions:
    """By attempt; the oldest are forgotten first. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: dict[int, Fault] = {}

    def note(self, attempt_id: int, fault: Fault) -> None:
        with self._lock:
            self._faults.setdefault(attempt_id, fault)
            if len(self._faults) > _REMEMBERED:
                del self._faults[next(iter(self._faults))]

    def of(self, attempt_id: int) -> Fault | None:
        with self._lock:
            return self._faults.get(attempt_id)
