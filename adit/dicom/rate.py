"""A token bucket: how long to wait so that queries or bytes stay within an attempt's share.

Used by the nodes. It only computes; the clock is handed in and the caller does the waiting, in its
own interruptible way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """Lets `rate` units a second pass on average and at most `burst` at once; safe for threads.

    A unit may be taken in advance: the debt is paid by whoever comes next. So one piece bigger than
    the burst passes too, and the average still holds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"rate and burst must be positive (rate {rate}, burst {burst})")
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level = burst
        self._at = clock()
        self._lock = threading.Lock()

    def take(self, units: float) -> float:
        """Takes `units` and returns the seconds to wait before using them; 0 while there is room."""
        with self._lock:
            now = self._clock()
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
            self._level -= units
            return max(0.0, -self._level / self._rate)
