"""An HTTP proxy in front of a real API server that refuses, delays, alters and cuts what a test tells it to.

What no reaction is meant for goes through unchanged, so all else is the real server's behaviour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3


@dataclass(frozen=True)
class Reaction:
    """What happens to one request."""

    answer: int | None = None  # answers this itself and forwards nothing
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False  # forwards it, and ends the connection instead of handing the answer back
    before: Callable[[], object] = lambda: None  # called before anything else; block in it to be slow


PASS = Reaction()


class FaultyProxy:
    """`react` is asked for each request's method and path (with query), and may be changed at any time."""

    def __init__(self, upstream: str, ca: Path) -> None:
        self.react: Callable[[str, str], Reaction] = lambda method, path: PASS
        self.requests: list[tuple[str, str]] = []
        self._pool = urllib3.PoolManager(ca_certs=str(ca), retries=False)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client went away
                    self.close_connection = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append((self.command, self.path))
                reaction = proxy.react(self.command, self.path)
                reaction.before()
                if reaction.answer is not None:
                    self._answer(reaction.answer, reaction.headers, reaction.body)
                    return
                passed = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                answer = proxy._pool.request(self.command, upstream + self.path, body=body, headers=passed)
                if reaction.cut:
                    self.close_connection = True
                    return
                kept = {key: answer.headers[key] for key in ("Content-Type", "Retry-After") if key in answer.headers}
                self._answer(answer.status, kept, answer.data)

            def _answer(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response(code)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def react_once(self, *reactions: Reaction) -> None:
        """The next requests meet these, one each; all others pass."""
        left = list(reactions)
        self.react = lambda method, path: left.pop(0) if left else PASS

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._pool.clear()
