"""What an operator does while it leads: take in, dispatch, launch, tell. Each part has a thread; any may end them all.

Begun by `main` once the Lease is held, ended by a signal or by a part that fails. Nothing of it needs to be
stopped in order: whatever is cut short here the next leader does again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from adit.dispatch.admit import AdmissionSettings
from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.sweep import Patience
from adit.ledger.connection import LedgerError, LedgerUnavailable
from adit.ledger.ledger import Ledger
from adit_operator import metrics
from adit_operator.cluster_events import ClusterEvents
from adit_operator.health import Pulse
from adit_operator.intake import Intake
from adit_operator.job_manifest import GRACE_SECONDS
from adit_operator.kubernetes_api import ApiRefused, KubernetesApi
from adit_operator.kubernetes_launcher import KubernetesLauncher
from adit_operator.ownership import Ownership
from adit_operator.reach import readable
from adit_operator.settings import OperatorSettings
from adit_operator.status_writer import StatusWriter
from adit_operator.watch import watch
from adit_operator.worker_settings import WorkerSettings

_log = structlog.get_logger(__name__)

_STATUS_SECONDS: Final = 1.0
_BEAT_SECONDS: Final = 180.0
"""How long a loop may be silent before the process counts as hung: every call in it has a time-out well below."""
_GAUGE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = (1.0, 30.0)
_START_MARGIN: Final = 60
"""By how many seconds the launcher gives a pod that does not start back before its lease would."""


class Reign:
    """One leader's time. `run` in the main thread; `stop` from a signal handler or another thread."""

    def __init__(
        self,
        ledger: Ledger,
        api: KubernetesApi,
        settings: OperatorSettings,
        workers: WorkerSettings,
        pulse: Pulse,
        check: Callable[[], None],
    ) -> None:
        """`check` ends the process if it does not lead any more; called before each round of work."""
        self._check = check
        self._ledger = ledger
        self._api = api
        self._settings = settings
        self._pulse = pulse
        self._namespaces: tuple[str, ...] | None = settings.watched  # those that can be read, once a sweep has looked
        self._wake = threading.Event()  # the dispatcher
        self._stopped = threading.Event()
        self._failed = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch_stop: asyncio.Event | None = None
        ownership = Ownership(
            api,
            f"{settings.pod_namespace}/{settings.lease}",
            seconds=3 * settings.sweep_seconds,
            monotonic=time.monotonic,
            clock=_utc_now,
        )
        self._launcher = KubernetesLauncher(
            api,
            workers,
            self._namespaces,
            clock=_utc_now,
            monotonic=time.monotonic,
            on_change=self._wake.set,
            ownership=ownership,
        )
        self._events = ClusterEvents(api, settings.pod_name)
        self._writer = StatusWriter(ledger, api, self._events, self._launcher.trouble)
        self._intake = Intake(ledger, self._writer, clock=_utc_now, on_change=self._wake.set, ownership=ownership)
        self._dispatcher = Dispatcher(
            ledger,
            self._launcher,
            clock=_utc_now,
            random=random.random,
            monotonic=time.monotonic,
            settings=DispatchSettings(
                patience=Patience(
                    lease=settings.lease_seconds, start=workers.start_seconds + _START_MARGIN, stop=GRACE_SECONDS
                ),
                admission=AdmissionSettings(max_running=workers.max_running),
            ),
        )

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        loop, stop = self._loop, self._watch_stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)

    def run(self) -> bool:
        """Until `stop`; False if a part failed, so that the process had better begin anew."""
        if not self._sweep_once():
            return True
        self._start("dispatcher", lambda: self._dispatcher.run(self._until, self._wake))
        self._start("sweep", self._sweep)
        self._start("status", self._tell)
        try:
            asyncio.run(self._watch())
        finally:
            self._loop = None  # closed by now
            self.stop()
            for thread in self._threads:
                thread.join()
        self._write_status()
        return not self._failed

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        """What it raises is a defect, or a ledger that refuses: it is logged, and the process begins anew."""
        ended_well = False
        try:
            work()
            ended_well = True
        finally:
            self._failed = self._failed or not ended_well
            self.stop()

    def _until(self) -> bool:
        self._pulse.beat("dispatcher", _BEAT_SECONDS)
        self._check()
        return self._stopped.is_set()

    async def _watch(self) -> None:
        self._loop, self._watch_stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped.is_set():
            return
        _log.info("watching", namespaces=list(self._namespaces or ("*",)))
        await watch(
            self._intake,
            self._launcher,
            self._namespaces,
            identity=self._settings.pod_name,
            stop=self._watch_stop,
        )

    def _sweep_once(self) -> bool:
        """Sweeps until it has succeeded once; False if stopped before."""
        pause, longest = _RETRY_SECONDS
        while not self._stopped.is_set():
            self._pulse.beat("sweep", _BEAT_SECONDS + self._settings.sweep_seconds)
            self._check()
            started = time.monotonic()
            try:
                self._look_at(readable(self._api, self._settings.watched))
                self._intake.sweep(self._api, self._namespaces)
            except (ApiRefused, LedgerUnavailable) as error:
                _log.warning("sweep postponed", reason=str(error))
                self._intake.behind.set()
                self._stopped.wait(pause)
                pause = min(longest, pause * 2)
            else:
                metrics.RECONCILE_SECONDS.labels("sweep").observe(time.monotonic() - started)
                return True
        return False

    def _look_at(self, namespaces: tuple[str, ...] | None) -> None:
        """A watch cannot change what it looks at: when other namespaces can be read, the process begins anew."""
        if namespaces == self._namespaces:
            return
        _log.warning("other namespaces", readable=list(namespaces or ()), before=list(self._namespaces or ()))
        self._namespaces = namespaces
        if self._loop is not None:
            self._failed = True
            self.stop()

    def _sweep(self) -> None:
        swept, pause = time.monotonic(), _STATUS_SECONDS
        while not self._stopped.wait(_STATUS_SECONDS):
            due = pause if self._intake.behind.is_set() else self._settings.sweep_seconds
            if time.monotonic() - swept < due:
                continue
            self._sweep_once()
            # What the ledger refuses each time is tried again more and more seldom.
            pause = min(self._settings.sweep_seconds, 2 * pause) if self._intake.behind.is_set() else _STATUS_SECONDS
            swept = time.monotonic()

    def _tell(self) -> None:
        gauged_at = float("-inf")
        while not self._stopped.wait(_STATUS_SECONDS):
            self._pulse.beat("status", _BEAT_SECONDS)
            self._check()
            self._write_status()
            if time.monotonic() - gauged_at >= _GAUGE_SECONDS:
                gauged_at = time.monotonic()
                self._gauge()

    def _write_status(self) -> None:
        started = time.monotonic()
        try:
            self._writer.write_due(_utc_now())
        except LedgerError as error:
            _log.error("the ledger refuses the status writer", reason=str(error))
        metrics.RECONCILE_SECONDS.labels("status").observe(time.monotonic() - started)

    def _gauge(self) -> None:
        try:
            gauges = self._ledger.gauges(_utc_now())
        except (LedgerUnavailable, LedgerError):
            metrics.LEDGER_FAILURES.inc()
            return
        metrics.RUNNING_ATTEMPTS.set(gauges.running_attempts)
        metrics.OLDEST_DUE_SECONDS.set(gauges.oldest_due_seconds)
        metrics.OPEN_JOBS.set(gauges.open_jobs)
        metrics.WAITING_TASKS.set(gauges.waiting_tasks)


def _utc_now() -> datetime:
    return datetime.now(UTC)
