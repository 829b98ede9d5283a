"""A web server that answers each request as a test tells it to: cut, slow, wrong, or well.

It keeps what it was asked. With `tls` (a folder as `Certificates.issue` makes it) it speaks https.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str  # with its query
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What it answers. Without a `length` the end of the connection is the end of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: bool = True
    cut_at: int | None = None  # closes the connection after so many bytes of the body
    before: Callable[[], object] = lambda: None  # called before anything is sent; block in it to be slow
    dripping: Callable[[], bool] | None = None  # the body byte by byte, as long as this holds


NOT_FOUND = Reply(404)


def multipart(parts: Iterable[bytes], boundary: str = "b0undary", **more: Any) -> Reply:
    """A well-formed answer of WADO-RS, unless `more` says otherwise."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
    kind = {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"'}
    return Reply(**{"body": body, "headers": kind, **more})


class ScriptedWeb:
    """`react` decides on each request, and may be changed at any time."""

    host = "127.0.0.1"

    def __init__(self, react: Callable[[Asked], Reply] | None = None, *, tls: Path | None = None) -> None:
        self.react = react or (lambda asked: NOT_FOUND)
        self.asked: list[Asked] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client went away
                    self.close_connection = True

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length) if length else b""
                if len(body) < length:
                    self.close_connection = True
                    return  # the client went away: it has asked for nothing
                asked = Asked(self.command, self.path, self.headers, body)
                web.asked.append(asked)
                web._answer(self, web.react(asked))

            do_GET = do_POST = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
            self._tls(context)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}:{self._server.server_port}"

    def asks_for_certificates(self, authority: Path) -> None:
        """From now on clients must bear a certificate of this authority."""
        self._context.load_verify_locations(authority)
        self._context.verify_mode = ssl.CERT_REQUIRED

    def react_once(self, *replies: Reply) -> None:
        """The next requests get these; then what it answered before holds again."""
        left, before = list(replies), self.react
        self.react = lambda asked: left.pop(0) if left else before(asked)

    def _tls(self, context: ssl.SSLContext) -> None:
        self._context = context
        plain = self._server.get_request

        def get_request() -> tuple[Any, Any]:
            connection, address = plain()
            wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return wrapped, address

        self._server.get_request = get_request  # type: ignore[method-assign]
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        reply.before()
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.length:
            handler.send_header("Content-Length", str(len(reply.body)))
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        if reply.dripping is not None:
            for place in range(len(reply.body)):
                if not reply.dripping():
                    break
                handler.wfile.write(reply.body[place : place + 1])
        else:
            handler.wfile.write(reply.body[: reply.cut_at])
        if not reply.length or reply.cut_at is not None or reply.dripping is not None:
            handler.close_connection = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def relayed(server: str, asked: Asked) -> Reply:
    """What a real server answers to it: for tests that change some answers and leave the others."""
    passed = {
        name: value
        for name, value in asked.headers.items()
        if name.lower() not in ("host", "connection", "content-length")
    }
    answer = urllib3.request(
        asked.method, server + asked.path, body=asked.body or None, headers=passed, retries=False, timeout=30
    )
    kept = {name: answer.headers[name] for name in ("Content-Type", "Warning") if name in answer.headers}
    return Reply(answer.status, answer.data, kept)
