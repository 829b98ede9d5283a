"""How fast a job goes and when it may end: pure numbers from the ledger's summaries.

Used by `adit.cli.progress`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from adit.ledger.records import JobSummary
from adit.model.state import TaskState

_WINDOW_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Sight:
    """A job at one moment."""

    tasks: int
    ended: int
    instances: int  # verified, or stored where nothing can be verified
    expected: int
    bytes_stored: int
    bytes_per_second: float | None
    seconds_left: float | None


@dataclass(slots=True)
class Pace:
    """Remembers a job's last seconds. `now` is monotonic, in seconds."""

    _samples: deque[tuple[float, int, int]] = field(default_factory=deque)

    def see(self, summary: JobSummary, now: float) -> Sight:
        """The job as it is now, with its rate over the last seconds."""
        self._samples.append((now, summary.bytes_stored, summary.stored))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW_SECONDS:
            self._samples.popleft()
        began, bytes_then, stored_then = self._samples[0]
        seconds = now - began
        tasks = sum(summary.tasks.values())
        ended = sum(count for state, count in summary.tasks.items() if state.ended)
        pending = summary.tasks.get(TaskState.PENDING, 0)
        total = _total_instances(summary.expected, tasks, pending)
        stored_rate = (summary.stored - stored_then) / seconds if seconds > 0 else 0.0
        return Sight(
            tasks=tasks,
            ended=ended,
            instances=max(summary.verified, summary.stored),
            expected=summary.expected,
            bytes_stored=summary.bytes_stored,
            bytes_per_second=(summary.bytes_stored - bytes_then) / seconds if seconds > 0 else None,
            seconds_left=(total - summary.stored) / stored_rate if total is not None and stored_rate > 0 else None,
        )


def _total_instances(expected: int, tasks: int, pending: int) -> float | None:
    """All tasks' instances: those of tasks that have not begun are taken to be as many as the others'."""
    begun = tasks - pending
    return expected / begun * tasks if begun and expected else None


def size(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: 0:07, 12:03, 1:02:03."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
