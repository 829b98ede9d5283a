"""Which running attempts have been silent for too long. Called by `sweep`.

An attempt's heartbeat is written with the worker's clock, and clocks differ and jump. So heartbeats
are not compared with the time of day: it is watched, by this process's monotonic clock, whether they
change. A dispatcher that starts anew grants every attempt one more lease, which is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adit.ledger.records import RunningAttempt


@dataclass(frozen=True, slots=True)
class _Sighting:
    heartbeat_at: datetime | None
    seen_at: float  # monotonic seconds when this heartbeat was first seen


class Leases:
    """The last change of each running attempt's heartbeat, as this dispatcher saw it."""

    def __init__(self, lease_seconds: float, start_seconds: float | None = None) -> None:
        """`start_seconds`: the lease of an attempt that has not begun, where starting takes longer."""
        self._lease_seconds = lease_seconds
        self._start_seconds = lease_seconds if start_seconds is None else start_seconds
        self._sightings: dict[int, _Sighting] = {}

    def expired(self, running: Sequence[RunningAttempt], seconds: float) -> list[RunningAttempt]:
        """Those whose heartbeat (or its absence, before they begin) has not changed for a lease.

        `seconds` is a monotonic clock's reading. Attempts that are not in `running` are forgotten.
        """
        self._sightings = {attempt.attempt_id: self._sight(attempt, seconds) for attempt in running}
        return [
            attempt
            for attempt in running
            if seconds - self._sightings[attempt.attempt_id].seen_at >= self._patience(attempt)
        ]

    def _patience(self, attempt: RunningAttempt) -> float:
        return self._start_seconds if attempt.heartbeat_at is None else self._lease_seconds

    def _sight(self, attempt: RunningAttempt, seconds: float) -> _Sighting:
        last = self._sightings.get(attempt.attempt_id)
        if last is not None and last.heartbeat_at == attempt.heartbeat_at:
            return last
        return _Sighting(attempt.heartbeat_at, seconds)
