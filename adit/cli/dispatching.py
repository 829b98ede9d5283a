"""A dispatcher with local workers, run until its work is done or someone asks it to stop.

Used by `adit run`, `adit up` and `adit demo`. Ctrl-C (or SIGTERM, or a lost terminal) once: workers finish
the instances in flight, everything else stays as it is and can be taken up again. Twice: workers are ended at once.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Final
from uuid import UUID

from adit.cli.log import expire_attempt_logs
from adit.cli.session import Session
from adit.cli.waiting import inherited
from adit.dispatch.admit import AdmissionSettings
from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.process_launcher import ProcessLauncher

GRACE_SECONDS: Final = 20.0
WORKERS_ARE_OWNERS: Final = (
    "Warning: ADIT_WORKER_DATABASE_URL is not set, so workers use ADIT_DATABASE_URL and may change the whole ledger. "
    "Give them a login of their own in the role adit_worker: docs/single-machine.md."
)


class StopRequest:
    """What the signals asked for so far."""

    def __init__(self, wake: threading.Event, said: Callable[[str], None]) -> None:
        self.requested = False
        self._wake = wake
        self._said = said
        self.hurried = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler. It raises nothing: the interrupted code may be in the middle of a transaction."""
        if self.requested:
            self.hurried = True
            return
        self.requested = True
        # In a thread: the interrupted main thread may hold the event's lock, or be writing to the terminal.
        threading.Thread(target=self._pass_on, name="stop-request", daemon=True).start()

    def _pass_on(self) -> None:
        self._wake.set()
        with suppress(OSError):  # a terminal that hung up can't be told
            self._said("Stopping: instances in flight are finished. Once more to stop at once.")


@contextmanager
def _signals(request: StopRequest) -> Iterator[None]:
    """Ctrl-C, a service manager's SIGTERM, a terminal that hangs up (unless nohup said to ignore that)."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in asked if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, request.take) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def dispatch(
    session: Session,
    done: Callable[[], bool],
    said: Callable[[str], None],
    *,
    jobs: frozenset[UUID] | None = None,
) -> bool:
    """Dispatches these jobs, or all in the ledger, until `done()`; False if a signal ended it before.

    First it makes room in the logs. `said` takes sentences for people. No worker of ours runs any more on return.
    """
    wake = threading.Event()
    settings = session.settings
    expire_attempt_logs(settings.logs, utc_now())
    if settings.workers_are_owners:
        said(WORKERS_ARE_OWNERS)
    if others := inherited(session.ledger, jobs, utc_now()):
        said(others)
    launcher = ProcessLauncher(
        session.worker_url,
        spool=settings.spool_folder,
        secrets=settings.secrets_folder,
        logs=settings.logs,
        on_exit=wake.set,
    )
    dispatcher = Dispatcher(
        session.ledger,
        launcher,
        clock=utc_now,
        random=random.random,
        monotonic=time.monotonic,
        settings=DispatchSettings(admission=AdmissionSettings(jobs=jobs)),
        revive=session.revive,
    )
    request = StopRequest(wake, said)
    with _signals(request):
        try:
            dispatcher.run(lambda: request.requested or done(), wake)
        finally:
            dispatcher.shutdown(GRACE_SECONDS, wake, lambda: request.hurried)
    return not request.requested


def utc_now() -> datetime:
    """The one clock of the command line."""
    return datetime.now(UTC)
