"""What one sees while jobs run: a live bar a job on a terminal, a plain line every few seconds elsewhere.

Used by `adit run` and `adit demo`; reads the ledger from a thread of its own while the main thread dispatches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from adit.cli.pace import Pace, Sight, duration, size
from adit.cli.waiting import news, why_waiting
from adit.ledger.connection import LedgerUnavailable
from adit.ledger.ledger import Ledger

_LIVE_SECONDS: Final = 0.4
_PLAIN_SECONDS: Final = 5.0
_REMINDER_SECONDS: Final = 300.0
_NAME_COLUMNS: Final = 30


@contextmanager
def watching(ledger: Ledger, jobs: Mapping[UUID, str], console: Console) -> Iterator[None]:
    """Shows how far the jobs (names by id) are until the block ends."""
    ended = threading.Event()
    live = console.is_terminal
    # A daemon, as a Ctrl-C may come while it starts: whatever is skipped then, it keeps no process from its end.
    thread = threading.Thread(
        target=_live if live else _plain, args=(ledger, jobs, console, ended), name="progress", daemon=True
    )
    try:
        thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()


def _live(ledger: Ledger, jobs: Mapping[UUID, str], console: Console, ended: threading.Event) -> None:
    with Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=_shown(jobs.values()))),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[told]}"),
        console=console,
        refresh_per_second=4,
        transient=True,
    ) as progress:
        bars: dict[UUID, TaskID] = {job: progress.add_task(name, total=None, told="") for job, name in jobs.items()}
        paces = {job: Pace() for job in jobs}
        faults = _Faults(ledger, jobs, console)
        while True:
            last = ended.wait(_LIVE_SECONDS)
            for job, sight, waiting in _sights(ledger, paces):
                faults.tell(job, waiting)
                text = told(sight, waiting)
                progress.update(bars[job], total=sight.expected or None, completed=sight.instances, told=text)
            if last:
                return


def _shown(names: Collection[str]) -> int:
    """Columns: a name is left whole, unless it is long, where the rest of the line has no room beside it."""
    return min(_NAME_COLUMNS, max(map(len, names), default=0))


def _plain(ledger: Ledger, jobs: Mapping[UUID, str], console: Console, ended: threading.Event) -> None:
    paces = {job: Pace() for job in jobs}
    faults = _Faults(ledger, jobs, console)
    said: dict[UUID, tuple[str, float]] = {}  # what was last said of each job, and when
    last = False
    while not last:
        last = ended.wait(_PLAIN_SECONDS)
        for job, sight, waiting in _sights(ledger, paces):
            faults.tell(job, waiting)
            text, now = told(sight, waiting), time.monotonic()
            before, at = said.get(job, ("", now))
            if text != before or (not last and now - at >= _REMINDER_SECONDS):  # a job may wait for a window all night
                said[job] = text, now
                console.print(f"{jobs[job]}: {text}", markup=False)


class _Faults:
    """Says once what each fault is that tasks are tried again after, and its cure: whoever can mend it need not wait
    for the last attempt to read it."""

    def __init__(self, ledger: Ledger, jobs: Mapping[UUID, str], console: Console) -> None:
        self._ledger = ledger
        self._jobs = jobs
        self._console = console
        self._told: dict[UUID, set[str]] = {job: set() for job in jobs}
        self._waiting: dict[UUID, str] = {}

    def tell(self, job: UUID, waiting: str) -> None:
        """`waiting` is why nothing of the job runs; it changes with each attempt, and only then tasks are read."""
        if not waiting or waiting == self._waiting.get(job):
            return
        self._waiting[job] = waiting
        for fault in news(self._ledger, job, self._told[job]):
            self._console.print(f"{self._jobs[job]}: {fault}", markup=False)


def _sights(ledger: Ledger, paces: Mapping[UUID, Pace]) -> Iterator[tuple[UUID, Sight, str]]:
    """Each job, how far it is, and why nothing of it runs. Nothing while the ledger is away; the log says so."""
    with suppress(LedgerUnavailable):
        for job, pace in paces.items():
            summary = ledger.summary(job)
            yield job, pace.see(summary, time.monotonic()), why_waiting(ledger, summary, datetime.now(UTC))


def told(sight: Sight, waiting: str = "") -> str:
    """A sight in one line."""
    parts = [f"{sight.ended}/{sight.tasks} tasks"]
    if sight.expected or not waiting:
        parts += [f"{sight.instances}/{sight.expected} instances", size(sight.bytes_stored)]
    if sight.bytes_per_second:
        parts.append(f"{size(sight.bytes_per_second)}/s")
    if sight.seconds_left is not None and sight.ended < sight.tasks:
        parts.append(f"about {duration(sight.seconds_left)} left")
    if waiting:
        parts.append(waiting)
    return " · ".join(parts)
