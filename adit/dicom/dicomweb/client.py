"""One exchange after another with one DICOMweb server, each within the attempt's share and the server's own word.

Called by `find`, `fetch`, `store` and `probe`. Redirects are never followed: our credentials were meant for this
server alone. A server that is busy (429, 503) is asked again when it says so (Retry-After), within limits.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Final, Protocol

from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from adit.dicom.allowance import Allowance
from adit.dicom.dicomweb.connection import EncryptedPool, PlainPool
from adit.dicom.dicomweb.respite import Respite, seconds_of
from adit.dicom.dicomweb.secrets import client_context, credential_headers
from adit.dicom.dicomweb.server import Server
from adit.dicom.dimse.connection import Interruption
from adit.dicom.tls_answer import answers_tls
from adit.dicom.tls_failure import tls_failure
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault

_BUSY: Final = frozenset({429, 503})
_PIECE: Final = 256 * 1024
_PROGRESS: Final = 64 * 1024  # bytes of an answer that must come within the node's network time-out
_TICK: Final = 0.05  # seconds in which an interruption is noticed while a connection is waited for
_CODINGS: Final = {coding: f" ({coding})" for coding in ("gzip", "deflate", "br", "zstd", "compress")}
_AGENT: Final = "ADIT"


class TooLongError(Exception):
    """An answer that is to be held as a whole is longer than it may be."""


class Body(Protocol):
    """What a request brings: its pieces, and how many bytes they are."""

    @property
    def content_type(self) -> str: ...
    @property
    def size(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


class Answer:
    """What a server answered; valid while its exchange lasts."""

    def __init__(self, client: Client, response: BaseHTTPResponse) -> None:
        self._client = client
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.headers.get(name) or ""

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises TransferFault when it ends early or comes too slowly."""
        seconds, received, limit = 0.0, 0, self._client.server.web.timeouts.network_seconds
        while True:
            began = time.monotonic()
            try:
                piece = self._response.read1(_PIECE)
            except (HTTPError, HTTPException, OSError) as error:
                raise self._client.fault_of(error) from None
            if not piece:
                self._client.pause(0)  # severed from our side it looks like an end
                return
            received += len(piece)
            seconds += time.monotonic() - began
            if received >= _PROGRESS:
                seconds, received = 0.0, 0
            elif seconds > limit:
                raise self._client.too_slow()
            yield piece

    @property
    def tells_its_end(self) -> bool:
        """Else it may be what is left of one that was cut, even within its headers."""
        return bool(self.header("Content-Length") or self.header("Transfer-Encoding"))

    def content(self, at_most: int) -> bytes:
        """The whole body. Raises TransferFault, TooLongError."""
        collected = bytearray()
        for piece in self.pieces():
            collected += piece
            if len(collected) > at_most:
                raise TooLongError
        return bytes(collected)

    def close(self) -> None:
        """Gives the connection back if the answer was read to its end, else closes it."""
        self._response.close()


class Client:
    """Safe for threads. At most `share.associations` exchanges run at a time."""

    def __init__(
        self,
        server: Server,
        share: Share,
        *,
        secrets: Path | None = None,
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        self._secrets = secrets
        self._clock = clock
        self._interruption = Interruption()
        self._respite = Respite(clock)
        allowance = allowance or Allowance(share, clock)
        self._associations = allowance.associations
        self._room, self._queries, self._bytes = allowance.room, allowance.queries, allowance.bytes

    @contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        body: Callable[[], Body] | None = None,
    ) -> Iterator[Answer]:
        """Sends a request, and hands over the answer once it begins; `body` is called for each try.

        Raises TransferFault when there is no answer, or none but that the server is busy.
        """
        waited = 0.0
        again = method == "GET"  # once, where a connection that was kept open has gone
        while True:
            waited += self._leave_alone(waited)
            self._wait_for_room()
            try:
                try:
                    answer = self._send(method, path, accept, None if body is None else body())
                except TransferFault as stopped:
                    if again and stopped.fault.code is FaultCode.ASSOCIATION_ABORTED:
                        again = False
                        continue
                    self._raise_if_tls(stopped)
                    raise
                try:
                    if answer.status not in _BUSY:
                        self._respite.end()
                        self._require_plain(answer)
                        yield answer
                        return
                    self._respite.grant(seconds_of(answer.header("Retry-After")))
                finally:
                    answer.close()
            finally:
                self._room.release()

    def query(self) -> None:
        """Waits until the share allows one more query."""
        if self._queries is not None:
            self.pause(self._queries.take(1))

    def meter(self, count: int) -> None:
        """Waits until the share allows so many bytes."""
        if self._bytes is not None:
            self.pause(self._bytes.take(count))

    def pause(self, seconds: float) -> None:
        if self._interruption.is_set() or (seconds > 0 and self._interruption.sleep(seconds)):
            raise self._interrupted()

    def interrupt(self) -> None:
        self._interruption.set()

    def too_slow(self) -> TransferFault:
        limit = self.server.web.timeouts.network_seconds
        return self.server.fault(
            FaultCode.NODE_TIMEOUT,
            f"{self.server.address} sent less than 64 KiB of an answer in {limit} s",
            "See whether the node is overloaded; raise the node's timeouts if it is only slow.",
        )

    def fault_of(self, error: Exception) -> TransferFault:
        """What went wrong on the connection. urllib3's own words may hold a URL, so none of them is repeated."""
        if self._interruption.is_set():
            return self._interrupted()
        cause = _innermost(error)
        address = self.server.address
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            return self.server.fault(
                FaultCode.NODE_UNREACHABLE,
                f"Nothing answers at {address}",
                "Check the node's url, that the server runs, and that no firewall stands between.",
            )
        if isinstance(cause, TimeoutError) or isinstance(error, ReadTimeoutError):
            return self.server.fault(
                FaultCode.NODE_TIMEOUT,
                f"{address} did not answer, or take what we send, in time",
                "See whether the node is overloaded; raise the node's timeouts if it is only slow.",
            )
        if isinstance(cause, ssl.SSLError) and _is_of_tls(error, cause):
            tls = self.server.web.tls
            failure = tls_failure(cause, (tls.server_name if tls is not None else None) or self.server.host)
            return self.server.fault(FaultCode.TLS_FAILED, f"{address} {failure.what}", failure.cure)
        if _is_of_tls(error, cause):
            return self.server.fault(
                FaultCode.TLS_FAILED,
                f"TLS with {address} failed ({_words(cause)})",
                "Check that ca.crt signed the server's certificate, that the certificate bears the host's name or "
                "tls.serverName, that the server speaks TLS at this port, and that it trusts tls.crt.",
            )
        return self.server.fault(
            FaultCode.ASSOCIATION_ABORTED,
            f"The connection to {address} broke ({_words(cause)})",
            "If it happens each time, look into the node's log and the network between.",
        )

    def _send(self, method: str, path: str, accept: str, body: Body | None) -> Answer:
        self.pause(0)
        headers = {"User-Agent": _AGENT, "Accept": accept, **credential_headers(self.server, self._secrets)}
        if body is not None:
            headers |= {"Content-Type": body.content_type, "Content-Length": str(body.size)}
        timeouts = self.server.web.timeouts
        try:
            response = self._pool.urlopen(
                method,
                path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=Timeout(connect=timeouts.connect_seconds, read=timeouts.answer_seconds),
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, HTTPException, OSError) as error:
            raise self.fault_of(error) from None
        return Answer(self, response)

    @cached_property
    def _pool(self) -> HTTPConnectionPool:
        ours = {
            "maxsize": self._associations,
            "interruption": self._interruption,
            "network_seconds": float(self.server.web.timeouts.network_seconds),
        }
        if not self.server.is_https:
            return PlainPool(self.server.host, self.server.port, **ours)  # type: ignore[arg-type]
        context, tls = client_context(self.server, self._secrets), self.server.web.tls
        name = (tls.server_name if tls is not None else None) or self.server.host
        return EncryptedPool(
            self.server.host,
            self.server.port,
            ssl_context=context,
            server_hostname=name,
            **ours,  # type: ignore[arg-type]
        )

    def _raise_if_tls(self, stopped: TransferFault) -> None:
        """Raises TLS_FAILED where a server that hung up would have spoken TLS: that is mended, not waited for."""
        server = self.server
        if stopped.fault.code is not FaultCode.ASSOCIATION_ABORTED or server.is_https:
            return
        if answers_tls(server.host, server.port, server.web.timeouts.connect_seconds):
            raise server.fault(
                FaultCode.TLS_FAILED,
                f"{server.address} speaks TLS, and the node's url does not",
                "Begin the node's url with https, or name the port where the server speaks without TLS.",
            ) from stopped

    def _require_plain(self, answer: Answer) -> None:
        """We ask for no content coding: what is compressed could be without end."""
        coding = answer.header("Content-Encoding").strip().lower()
        if coding not in ("", "identity"):
            raise self.server.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"{self.server.address} answers with a content coding{_CODINGS.get(coding, '')}, which it was asked to "
                "leave out",
                "Switch compression of answers off, at the server or at a proxy before it.",
            )

    def _leave_alone(self, waited: float) -> float:
        """Waits while the server is known to be busy, and tells how long; not longer than the node's busySeconds."""
        left = self._respite.left()
        if waited + left > self.server.web.timeouts.busy_seconds:
            raise self.server.fault(
                FaultCode.OUT_OF_RESOURCES,
                f"The server is busy, and is to be left alone for {left:.0f} s more",
                "Lower the node's limits if it happens often.",
            )
        if left > 0:
            self.pause(left)
        return left

    def _wait_for_room(self) -> None:
        give_up = self._clock() + self.server.web.timeouts.answer_seconds
        self.pause(0)
        while not self._room.acquire(timeout=_TICK):
            self.pause(0)
            if self._clock() >= give_up:
                raise self.server.fault(
                    FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
                    "No connection of this attempt's share came free",
                    "Raise limits.associations of the node if it happens often.",
                )

    def _interrupted(self) -> TransferFault:
        return self.server.fault(
            FaultCode.INTERRUPTED, "Work with the node was stopped", "It goes on with the next attempt."
        )


def _innermost(error: BaseException) -> BaseException:
    """The operating system's or TLS's own error, around which urllib3 and http.client put theirs."""
    while not isinstance(error, OSError):
        inner = next((each for each in error.args if isinstance(each, BaseException)), None) or error.__cause__
        if inner is None:
            return error
        error = inner
    return error


def _is_of_tls(error: Exception, cause: BaseException) -> bool:
    """Whether TLS itself failed, and not the peer that went away."""
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return False
    return isinstance(cause, ssl.SSLError | ssl.CertificateError) or (
        isinstance(error, SSLError) and not isinstance(error, ProtocolError)
    )


def _words(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else type(error).__name__
