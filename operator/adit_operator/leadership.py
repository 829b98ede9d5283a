"""One leader at a time, by a Lease: a second operator is a warm standby.

Started by main, which works only while it leads and ends the process when `on_lost` is called. Two leaders
would be harmless, as attempts are fenced and Jobs named by attempt; this makes them rare.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from adit_operator.election import Election, ElectionSettings, Intent, Record
from adit_operator.kubernetes_api import LEASES, ApiRefused, KubernetesApi, Object, Refusal
from adit_operator.metrics import LEADER

_MICRO_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"

_log = structlog.get_logger()


class NotLeading(Exception):  # noqa: N818 - a state, not a mistake
    """The Lease is somebody else's, or was not renewed in time."""


def _boot_seconds() -> float:
    """Seconds that run on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """A candidate, in two threads: one looks at the Lease and renews it, one watches the renewal's deadline.

    So that a request that hangs cannot keep a leader from learning that its time is over. A process that was
    frozen learns it from `check`, which asks the clock and nobody else.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        name: str,
        identity: str,
        *,
        on_lost: Callable[[], None],
        settings: ElectionSettings | None = None,
        monotonic: Callable[[], float] = _boot_seconds,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`api` should be this one's own, with time-outs well below the renewal's deadline.

        `identity` must be no other living process's. With a pod's name a restarted container takes up at once
        where the one before it ended. `on_lost` is called once, from a thread, when a leader must not lead any more.
        """
        self._api = api
        self._namespace = namespace
        self._name = name
        self._on_lost = on_lost
        self._election = Election(identity, settings or ElectionSettings())
        self._monotonic = monotonic
        self._clock = clock
        self._changed = threading.Condition()  # guards the election and the two flags
        self._led = False
        self._ended = False  # lost, or stopped: it never leads again
        self._object: Object | None = None  # the Lease as last read or written; the renewing thread's own
        self._threads = [
            threading.Thread(target=self._renew_until_ended, name="lease", daemon=True),
            threading.Thread(target=self._watch_deadline, name="lease-deadline", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it leads, after waiting until it does or until it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._led or self._ended, seconds)
        return self.leads()

    def leads(self) -> bool:
        """Asks the clock: true only before the deadline of the last renewal."""
        with self._changed:
            return not self._ended and self._election.leads(self._monotonic())

    def check(self) -> None:
        """Raises NotLeading unless it leads. To be called right before whatever only the leader may do."""
        if not self.leads():
            raise NotLeading

    def stop(self) -> None:
        """Gives the Lease back, so that another need not wait. The leader's work must have ended before."""
        with self._changed:
            self._end()
        if self._threads[0].is_alive():
            self._threads[0].join()
        if self._object is not None and _record(self._object).holder == self._election.identity:
            self._release(self._object)

    def _end(self) -> None:
        """Called with the condition held."""
        self._ended = True
        self._election.resign()
        LEADER.set(0)
        self._changed.notify_all()

    def _lose(self) -> None:
        with self._changed:
            if self._ended:
                return
            self._end()
        _log.error("leadership_lost")
        self._on_lost()

    def _watch_deadline(self) -> None:
        with self._changed:
            while not self._ended:
                now = self._monotonic()
                if self._led and not self._election.leads(now):
                    break
                self._changed.wait(self._election.seconds_left(now) if self._led else None)
        self._lose()

    def _renew_until_ended(self) -> None:
        try:
            while not self._ended:
                self._try_once()
                with self._changed:
                    pause = self._election.settings.retry * (1 + random.random() / 4)  # noqa: S311
                    self._changed.wait_for(lambda: self._ended, pause)
        finally:
            self._lose()  # a candidate whose thread died of a bug would stand by for ever

    def _try_once(self) -> None:
        try:
            while not self._look_and_write():
                pass
        except ApiRefused as error:
            _log.warning("lease_not_reached", why=str(error))

    def _look_and_write(self) -> bool:
        """One look and what follows from it; False if another wrote in between, so that one must look again."""
        with self._changed:
            known = self._object is not None and self._election.leads(self._monotonic())
        if not known:
            self._look()
        with self._changed:
            begun_at = self._monotonic()
            intent = self._election.intend(begun_at)
            if self._ended or intent is Intent.WAIT:
                return True
            identity = self._election.identity
        try:
            written = self._write(intent, identity)
        except ApiRefused as error:
            self._object = None
            if error.refusal in (Refusal.CONFLICT, Refusal.ALREADY_EXISTS):
                return False
            raise
        self._object = written
        with self._changed:
            self._election.wrote(_record(written), begun_at)
            if not self._ended and self._election.leads(self._monotonic()) and not self._led:
                self._led = True
                LEADER.set(1)
                _log.info("leads", identity=identity)
            self._changed.notify_all()
        return True

    def _look(self) -> None:
        self._object = self._api.read(LEASES, self._namespace, self._name)
        with self._changed:
            record = None if self._object is None else _record(self._object)
            self._election.seen(record, self._monotonic())
            self._changed.notify_all()  # if it is another's now, the deadline has come

    def _write(self, intent: Intent, identity: str) -> Object:
        now = self._clock().strftime(_MICRO_TIME)
        before = (self._object or {}).get("spec") or {}
        changes = {"holderIdentity": identity, "leaseDurationSeconds": self._election.settings.lease, "renewTime": now}
        if intent is not Intent.RENEW:
            changes |= {"acquireTime": now, "leaseTransitions": before.get("leaseTransitions", 0) + 1}
        spec = before | changes
        if self._object is None:
            body = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.name,
                "metadata": {"name": self._name},
                "spec": spec,
            }
            return self._api.create(LEASES, self._namespace, body)
        return self._api.replace(LEASES, self._namespace, self._name, self._object | {"spec": spec})

    def _release(self, ours: Object) -> None:
        now = self._clock().strftime(_MICRO_TIME)
        spec = ours["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
        try:
            self._api.replace(LEASES, self._namespace, self._name, ours | {"spec": spec})
        except ApiRefused as error:
            _log.warning("lease_not_released", why=str(error))


def _record(lease: Object) -> Record:
    spec = lease.get("spec") or {}
    return Record(
        version=lease["metadata"]["resourceVersion"],
        holder=spec.get("holderIdentity") or "",
        lease=spec.get("leaseDurationSeconds"),
    )
