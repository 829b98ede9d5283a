"""What the kubelet and Prometheus ask: /healthz, /readyz and /metrics, answered by a thread of their own.

Started by `main` where a setting asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_PLAIN: Final = "text/plain; charset=utf-8"
_PATIENCE: Final = 5.0  # seconds that a client may take to send its request


class HealthServer:
    """`unready` says in a word why no association would be accepted now; None while one would."""

    def __init__(self, listen: str, unready: Callable[[], str | None]) -> None:
        host, _, port = listen.rpartition(":")
        self._server = _Server((host.strip("[]"), int(port)), _handler(unready))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


def _handler(unready: Callable[[], str | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE
        server_version = "adit-receiver"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer(200, _PLAIN, b"ok\n")
                case "/readyz":
                    why = unready()
                    self._answer(503 if why else 200, _PLAIN, f"{why or 'ok'}\n".encode())
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
                case _:
                    self._answer(404, _PLAIN, b"not found\n")

        do_HEAD = do_GET  # noqa: N815

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
