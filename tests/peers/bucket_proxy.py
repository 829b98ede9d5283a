"""An HTTP proxy in front of a real S3 server that refuses, cuts, halves and delays what a test tells it to.

What no reaction is meant for goes through unchanged, signature and all, so all else is the real server's behaviour.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reaction:
    """What happens to one request."""

    refuse: tuple[int, str] | None = None  # status and S3 error code; nothing is forwarded
    drop: bool = False  # forwards it, and ends the connection instead of handing the answer back
    body_bytes: int | None = None  # ends the connection after so many bytes of the answer's body
    before: Callable[[], object] = lambda: None  # called before anything else; block in it to be slow


PASS = Reaction()
SLOW_DOWN = Reaction(refuse=(503, "SlowDown"))


class BucketProxy:
    """`react` is asked for each request's method and path (with query), and may be changed at any time."""

    def __init__(self, port: int) -> None:
        self.react: Callable[[str, str], Reaction] = lambda method, path: PASS
        self.requests: list[tuple[str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, http.client.HTTPException):  # one of the two went away
                    self.close_connection = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append((self.command, self.path))
                reaction = proxy.react(self.command, self.path)
                reaction.before()
                if reaction.refuse is not None:
                    status, code = reaction.refuse
                    self._answer(status, [], f"<Error><Code>{code}</Code></Error>".encode())
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    passed = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
                    upstream.request(self.command, self.path, body=body, headers=passed)
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                if reaction.drop:
                    self.close_connection = True
                    return
                kept = [each for each in answer.getheaders() if each[0].lower() not in _OWN]
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self._answer(answer.status, kept, content, length, reaction.body_bytes)

            def _answer(
                self,
                status: int,
                headers: list[tuple[str, str]],
                content: bytes,
                length: str | None = None,
                at_most: int | None = None,
            ) -> None:
                self.send_response_only(status)
                for key, value in headers:
                    self.send_header(key, value)
                self.send_header("Content-Length", length or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content[:at_most])
                if at_most is not None:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, method: str, part: str = "") -> int:
        """How many requests of that method had `part` in their path."""
        return sum(asked == method and part in path for asked, path in self.requests)

    def react_once(self, method: str, *reactions: Reaction) -> None:
        """The next requests of that method meet these, one each; all others pass."""
        left = list(reactions)
        self.react = lambda asked, path: left.pop(0) if left and asked == method else PASS

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_OWN = {"content-length", "connection", "transfer-encoding", "date", "server", "keep-alive"}
