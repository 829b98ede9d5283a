"""What is known of our Jobs, by attempt: refreshed by events and by lists. All of it may be forgotten.

The launcher asks it, the watch's thread feeds it. Only what decides is kept of each Job, not the Job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from adit_operator import post_mortem
from adit_operator.job_manifest import ATTEMPT_LABEL, JOB_LABEL

_KEPT_METADATA: Final = ("uid", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Sight:
    """One attempt's Job as it was last seen."""

    namespace: str
    name: str
    job: Mapping[str, Any]  # uid, creationTimestamp and status
    finished_at: float | None  # monotonic seconds when it was first seen finished

    @property
    def uid(self) -> str:
        return str(self.job["metadata"]["uid"])


class JobPicture:
    """Threads may share it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sights: dict[int, Sight] = {}

    def see(self, job: Mapping[str, Any]) -> bool:
        """A Job of ours is there. True if it is now known to have finished, and was not before."""
        attempt_id = attempt_of(job)
        if attempt_id is None:
            return False
        metadata = job["metadata"]
        kept = {"metadata": {key: metadata[key] for key in _KEPT_METADATA}, "status": job.get("status") or {}}
        with self._lock:
            before = self._sights.get(attempt_id)
            if before is not None and before.uid != metadata["uid"]:
                if before.job["metadata"]["creationTimestamp"] > metadata["creationTimestamp"]:
                    return False  # of a release, or a ledger, before ours, whose attempts had the same numbers
                before = None
            finished_at = before.finished_at if before is not None else None
            finishes = finished_at is None and post_mortem.has_finished(job)
            if finishes:
                finished_at = self._monotonic()
            self._sights[attempt_id] = Sight(metadata["namespace"], metadata["name"], kept, finished_at)
        return finishes

    def forget(self, attempt_id: int) -> None:
        with self._lock:
            self._sights.pop(attempt_id, None)

    def of(self, attempt_id: int) -> Sight | None:
        with self._lock:
            return self._sights.get(attempt_id)

    def all(self) -> dict[int, Sight]:
        with self._lock:
            return dict(self._sights)

    def replace(self, before: Iterable[int], jobs: Iterable[Mapping[str, Any]]) -> None:
        """What a list says. `before`: the attempts known when it was begun; of them, those not listed are gone."""
        gone = set(before)
        for job in jobs:
            self.see(job)
            attempt_id = attempt_of(job)
            if attempt_id is not None:
                gone.discard(attempt_id)
        with self._lock:
            for attempt_id in gone:
                self._sights.pop(attempt_id, None)


def job_of(thing: Mapping[str, Any]) -> UUID | None:
    """The TransferJob of a Job of ours by its label."""
    try:
        return UUID((thing["metadata"].get("labels") or {}).get(JOB_LABEL, ""))
    except ValueError:
        return None


def attempt_of(thing: Mapping[str, Any]) -> int | None:
    """The attempt of a Job or Pod by its label; None if it has none of ours."""
    label = (thing["metadata"].get("labels") or {}).get(ATTEMPT_LABEL, "")
    return int(label) if label.isascii() and label.isdecimal() else None
