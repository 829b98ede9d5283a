"""Who may lead, by what a candidate has seen of the Lease, and when. Pure: time is passed in.

Driven by `leadership`. The clocks of two candidates are never compared: each measures on its own, by a clock
that only runs forward, how long it has seen no change, and grants itself less time than it grants others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """In seconds. A leader gives up so much before another may follow: lease - renew."""

    lease: int = 15  # how long a record must stand still until another candidate may take it
    renew: float = 10  # how long a leader leads after it began the last renewal that succeeded
    retry: float = 2  # between two looks at the Lease

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.renew < self.lease:
            raise ValueError("retry, renew and lease must be in ascending order")


@dataclass(frozen=True, slots=True)
class Record:
    """What the Lease says, as far as it matters to the decision."""

    version: str  # its resourceVersion: changes with each write
    holder: str  # "" if it was released
    lease: int | None  # seconds that its holder has asked for


class Intent(Enum):
    WAIT = auto()
    CREATE = auto()
    TAKE = auto()  # from a holder that released it, or let it stand still for too long
    RENEW = auto()


class Election:
    """One candidate's view. It leads only by a write of its own that succeeded, and never for long.

    Why no two lead at once: writes are bound to the version that was read, so one of two wins. The winner
    leads from the moment it *began* to write, for `renew` seconds. Whoever follows has first *seen* that
    record, which was later, and has then waited for `lease` seconds, which is longer.
    """

    def __init__(self, identity: str, settings: ElectionSettings) -> None:
        self.identity = identity
        self.settings = settings
        self.record: Record | None = None
        self._absent = True  # the last look found no Lease; `record` is then what was there before
        self._seen_at = 0.0  # when `record` was first seen
        self._leads_until: float | None = None

    def seen(self, record: Record | None, at: float) -> None:
        """The Lease was read; `at` is when the answer had come."""
        self._absent = record is None
        if record is not None and record != self.record:
            self.record = record
            self._seen_at = at
        if record is not None and record.holder != self.identity:
            self._leads_until = None

    def wrote(self, record: Record, begun_at: float) -> None:
        """Our write succeeded and made it this record; `begun_at` is when we had begun to send it."""
        self.record = record
        self._absent = False
        self._seen_at = begun_at
        self._leads_until = begun_at + self.settings.renew

    def resign(self) -> None:
        self._leads_until = None

    def leads(self, at: float) -> bool:
        return self._leads_until is not None and at < self._leads_until

    def seconds_left(self, at: float) -> float:
        """How long it will lead if no renewal succeeds any more; 0 if it does not lead."""
        return 0 if self._leads_until is None else max(0, self._leads_until - at)

    def intend(self, at: float) -> Intent:
        """What to do about the Lease as it was last seen."""
        free = self.record is None or not self.record.holder or at - self._seen_at >= self._patience(self.record)
        ours = self.record is not None and self.record.holder == self.identity
        if not (free or ours):
            return Intent.WAIT
        if self._absent:  # a Lease that somebody deletes sets nobody free before its time
            return Intent.CREATE
        return Intent.RENEW if ours else Intent.TAKE

    def _patience(self, record: Record) -> float:
        """A holder's own word counts, should its settings be others than ours."""
        return record.lease if record.lease is not None and record.lease > 0 else self.settings.lease
