"""The operator's process: ready as soon as its database and its kinds are there, at work once it leads.

Exit code 0 after a signal; 1 when it must begin anew (a part failed, or the Lease was lost): Kubernetes restarts it.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

import structlog
from pydantic import ValidationError

from adit.ledger.connection import LedgerError, LedgerUnavailable, engine
from adit.ledger.ledger import Ledger
from adit.ledger.schema_version import Schema
from adit_operator import log
from adit_operator.health import HealthServer, Pulse
from adit_operator.kubernetes_api import OURS, ApiRefused, KubernetesApi
from adit_operator.leadership import Leadership
from adit_operator.reach import readable
from adit_operator.reign import Reign
from adit_operator.settings import OperatorSettings
from adit_operator.worker_settings import InvalidWorkerSettings, WorkerSettings

_log = structlog.get_logger(__name__)

_CONNECTIONS: Final = 8
_RETRY_SECONDS: Final = 2.0
_READ_SECONDS: Final = 10.0
_BEAT_SECONDS: Final = 120.0
_LEASE_TIMEOUTS: Final = (2.0, 4.0)  # to connect and to read: well below the renewal's deadline


class Operator:
    """One process's life: wait for what it needs, wait to lead, lead."""

    def __init__(self, settings: OperatorSettings, workers: WorkerSettings) -> None:
        self._settings = settings
        self._workers = workers
        self._stopped = threading.Event()
        self._reign: Reign | None = None
        self._pulse = Pulse()

    def stop(self) -> None:
        """Workers go on; the next leader finds them."""
        self._stopped.set()
        if self._reign is not None:
            self._reign.stop()

    def run(self) -> int:
        """The exit code."""
        settings = self._settings
        api = KubernetesApi(read_seconds=_READ_SECONDS)
        ledger = Ledger(engine(settings.database_url, connections=_CONNECTIONS))
        health = HealthServer(settings.listen, self._pulse)
        health.start()
        if not self._await_parts(ledger, api):
            return 0
        health.ready()
        connect, read = _LEASE_TIMEOUTS
        leadership = Leadership(
            KubernetesApi(connect_seconds=connect, read_seconds=read),
            settings.pod_namespace,
            settings.lease,
            settings.pod_name,
            on_lost=_end_at_once,
        )
        leadership.start()
        if not self._await_leadership(leadership):
            leadership.stop()
            return 0
        self._pulse.ended("start")

        def check() -> None:
            if not leadership.leads() and not self._stopped.is_set():
                _end_at_once()

        self._reign = Reign(ledger, api, settings, self._workers, self._pulse, check)
        if self._stopped.is_set():
            self._reign.stop()
        ended_well = self._reign.run()
        leadership.stop()
        _log.info("ended", well=ended_well)
        return 0 if ended_well else 1

    def _await_parts(self, ledger: Ledger, api: KubernetesApi) -> bool:
        """Until the database has this version's schema and the API server serves our kinds; False if stopped before."""
        said = ""
        while not self._stopped.is_set():
            self._pulse.beat("start", _BEAT_SECONDS)
            missing = self._missing_part(ledger, api)
            if missing is None:
                return True
            if missing != said:
                _log.info("waiting", reason=missing)
                said = missing
            self._stopped.wait(_RETRY_SECONDS)
        return False

    def _missing_part(self, ledger: Ledger, api: KubernetesApi) -> str | None:
        try:
            schema = ledger.schema()
            if schema is not Schema.CURRENT:
                return f"The database's schema is {schema}; `adit migrate` of this version makes it current."
            for namespace in readable(api, self._settings.watched) or (self._settings.pod_namespace,):
                for kind in OURS:
                    next(iter(api.list(kind, namespace)), None)
        except (LedgerUnavailable, LedgerError, ApiRefused) as error:
            return str(error)
        return None

    def _await_leadership(self, leadership: Leadership) -> bool:
        while not self._stopped.is_set():
            self._pulse.beat("start", _BEAT_SECONDS)
            if leadership.wait(_RETRY_SECONDS):
                return True
        return False


def _end_at_once() -> None:
    """Another may lead by now: nothing more may be begun here. What is cut short, the next leader does again."""
    os._exit(1)


def main() -> int:
    """The exit code; 2 if the environment or the workers' file is wrong."""
    try:
        settings = OperatorSettings(_secrets_dir=os.environ.get("ADIT_CREDENTIALS"))
        log.configure(settings.log_level)
        workers = WorkerSettings.read(settings.workers)
    except ValidationError as error:
        log.configure("info")
        wrong = ", ".join(str(each["loc"][0]) for each in error.errors(include_input=False))
        _log.error("wrong environment", variables=wrong)
        return 2
    except InvalidWorkerSettings as error:
        _log.error("wrong worker settings", reason=str(error))
        return 2
    operator = Operator(settings, workers)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=operator.stop, name="stop", daemon=True).start())
    return operator.run()
