"""How long a busy server is left alone: what it says in Retry-After (RFC 9110 10.2.3), else a growing while.

One per node, used by `client` for each request: all threads of an attempt keep the server's word to one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_FIRST: Final = 1.0
_LONGEST: Final = 30.0


class Respite:
    """Safe for threads; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until = clock()
        self._busy = 0  # answers in a row
        self._unsaid = 0  # those of them that did not say how long

    def left(self) -> float:
        """Seconds for which nothing may be sent; 0 when the server is not known to be busy."""
        with self._lock:
            return max(0.0, self._until - self._clock())

    def grant(self, seconds: float | None) -> None:
        """The server is busy: for so long, or for a while that it does not name.

        "At once" is believed the first time: else a server that says so each time would be asked without a pause.
        """
        with self._lock:
            if seconds is not None and self._busy:
                seconds = max(seconds, _FIRST)
            self._busy += 1
            if seconds is None:
                seconds = min(_LONGEST, _FIRST * 2**self._unsaid)
                self._unsaid += 1
            self._until = max(self._until, self._clock() + seconds)

    def end(self) -> None:
        """The server has answered something else."""
        with self._lock:
            self._busy = self._unsaid = 0


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """What a Retry-After header means, be it seconds or a date; None where it is absent or means nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
