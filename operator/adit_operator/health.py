"""What the kubelet and Prometheus ask: /healthz, /readyz and /metrics, answered by a thread of their own.

Started by main before anything else, so that a standby, and a start that waits for the ledger, answer too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

PULSE_SECONDS: Final = 60.0
"""How long a beat holds, if its loop promised nothing else."""
_PLAIN: Final = "text/plain; charset=utf-8"
_POLL: Final = 0.1  # seconds until `stop` is noticed, at most
_PATIENCE: Final = 5.0  # seconds that a client may take to send its request


class Pulse:
    """Proof of life of loops: each beats under its name, at least as often as it promised."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._beats: dict[str, tuple[float, float]] = {}  # by loop: when it last beat, how long that holds

    def beat(self, loop: str = "main", seconds: float = PULSE_SECONDS) -> None:
        """`loop` lives, and will beat again within `seconds`."""
        with self._lock:
            self._beats[loop] = (self._monotonic(), seconds)

    def ended(self, loop: str) -> None:
        """`loop` has ended as it should, and will beat no more."""
        with self._lock:
            self._beats.pop(loop, None)

    def stalled(self) -> list[str]:
        """The loops that should have beaten by now, by name."""
        with self._lock:
            now = self._monotonic()
            return sorted(loop for loop, (at, seconds) in self._beats.items() if now - at > seconds)


class HealthServer:
    """Listens from `start` to `stop`; `listen` is `address:port`, or `:port` for all addresses.

    Not ready until `ready` is called: when the ledger is there and this replica could take over.
    """

    def __init__(self, listen: str, pulse: Pulse) -> None:
        self._ready = threading.Event()
        self._server = _Server(_address(listen), _handler(pulse, self._ready))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), name="health", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        self._thread.start()

    def ready(self) -> None:
        """A standby is ready too."""
        self._ready.set()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # else a few silent clients make the kubelet's probe wait for seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


def _handler(pulse: Pulse, ready: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE
        server_version = "adit-operator"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    stalled = pulse.stalled()
                    self._say(f"stalled: {', '.join(stalled)}" if stalled else None)
                case "/readyz":
                    self._say(None if ready.is_set() else "starting")
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
                case _:
                    self._answer(404, _PLAIN, b"not found\n")

        do_HEAD = do_GET  # noqa: N815

        def _say(self, trouble: str | None) -> None:
            self._answer(503 if trouble else 200, _PLAIN, f"{trouble or 'ok'}\n".encode())

        def _answer(self, code: int, content_type: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """The kubelet asks every few seconds."""

    return Handler


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
