"""Our receiver as a process, as `adit up` and its pod start it, looked into through its log, its metrics and /proc."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.server_process import ServerProcess, free_port, listens

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Receiver:
    """`settings` are the receiver's own, without their prefix, such as `associations=2`."""

    host = "127.0.0.1"

    def __init__(
        self, tmp: Path, *, aet: str = "ADIT", environment: dict[str, str] | None = None, **settings: Any
    ) -> None:
        self.aet = aet
        self.folder = Path(tempfile.mkdtemp(prefix="receiver-", dir=tmp))
        self.dicom_port, self.health_port = free_port(), free_port()
        self._environment = environment or {}
        self._settings = settings
        self._process: ServerProcess | None = None

    @property
    def log(self) -> Path:
        return self.folder / "receiver.log"

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "this receiver is not started"
        return self._process

    def start(self) -> None:
        """On the ports that it had before."""
        settings = {
            "ae_titles": self.aet,
            "listen": f"{self.host}:{self.dicom_port}",
            "health_listen": f"{self.host}:{self.health_port}",
            "drain_seconds": 5,
            **self._settings,
        }
        environment = {f"ADIT_RECEIVER_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "adit_receiver"]
        self._process = ServerProcess(command, self.log, self._environment | environment)
        self._process.wait_until(lambda: listens(self.dicom_port) and self.ready() is not None, 30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    # --- what it says ---

    def ready(self) -> str | None:
        """`ok`, or why it is not ready; None where nothing answers."""
        try:
            return self._get("/readyz")
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode().strip()
        except OSError:
            return None

    def metric(self, name: str, **labels: str) -> float:
        """A number of /metrics; 0 while it was never counted."""
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        line = f"{name}{{{wanted}}} " if labels else f"{name} "
        return sum(float(each[len(line) :]) for each in self._get("/metrics").splitlines() if each.startswith(line))

    def fates(self, fate: str) -> int:
        """How many objects met it."""
        return int(self.metric("adit_receiver_objects_total", fate=fate))

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of its log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def memory(self) -> int:
        """Bytes of it in memory now."""
        return self._memory("VmRSS:")

    def peak_memory(self) -> int:
        """The most bytes of it that were ever in memory."""
        return self._memory("VmHWM:")

    def _memory(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [size] = [line.split()[1] for line in status.splitlines() if line.startswith(key)]
        return int(size) * 1024

    def signal(self, number: signal.Signals) -> None:
        self.process.signal(number)

    def _get(self, path: str) -> str:
        with _OPENER.open(f"http://{self.host}:{self.health_port}{path}", timeout=10) as answer:
            content: bytes = answer.read()
        return content.decode().strip()
