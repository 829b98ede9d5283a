"""One TCP or TLS connection to a peer, with the peer's delayed-ACK stall taken out.

Called by `association`. A connection is used by one thread; `Interruption.set` severs it from any other.
DCMTK-based peers answer in two small writes with Nagle's algorithm on; unless the kernel acknowledges
the first at once, each answer comes 40 ms late. So TCP_QUICKACK is set again after each send and each
receive: the kernel clears it by itself.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeGuard
from weakref import WeakSet

from adit.dicom.dimse.peer import Peer
from adit.model.outcome import FaultCode, TransferFault

if TYPE_CHECKING:
    import ssl

_BUFFER: Final = 256 * 1024
_LAST_WORDS: Final = 1.0  # seconds for a peer that hung up to have said why
_TICK: Final = 0.2  # seconds in which an order to stop is noticed where nothing comes
_LEAVE: Final = 5.0  # seconds after an interruption for who takes leave of its peer
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class Interruption:
    """Ends every wait of one node, for good: severs its connections and wakes its sleepers.

    A connection that is spared is severed some seconds later, for who uses it to take leave of the peer.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._spared: WeakSet[socket.socket] = WeakSet()

    def set(self) -> None:
        with self._lock:
            if self._spared and not self._event.is_set():
                timer = threading.Timer(_LEAVE, self._spare_nobody)
                timer.daemon = True
                timer.start()
            self._event.set()
            for each in self._sockets - self._spared:
                _shut_down(each)

    def is_set(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> bool:
        """Sleeps, or returns True at once when interrupted."""
        return self._event.wait(seconds)

    def watch(self, each: socket.socket) -> None:
        with self._lock:
            self._sockets.add(each)
            if self._event.is_set():
                _shut_down(each)

    def spare(self, each: socket.socket) -> None:
        with self._lock:
            if not self._event.is_set():
                self._spared.add(each)

    def forget(self, each: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(each)
            self._spared.discard(each)

    def _spare_nobody(self) -> None:
        with self._lock:
            self._spared.clear()
        self.set()


def _shut_down(each: socket.socket, direction: int = socket.SHUT_RDWR) -> None:
    # Not SSLSocket.shutdown: that takes the TLS object away from under the thread which uses it.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(each, direction)


class Connection:
    """A connected byte stream.

    All calls raise TransferFault: ASSOCIATION_ABORTED, NODE_TIMEOUT, TLS_FAILED, INTERRUPTED.
    """

    def __init__(self, peer: Peer, connected: socket.socket, interruption: Interruption, *, is_tls: bool) -> None:
        self._peer = peer
        self._socket = connected
        self._interruption = interruption
        self._is_tls = is_tls
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0
        self._seconds = 0.0
        self._every: int | None = None
        self._give_up = self._came_at = 0.0  # monotonic: when patience ends, and when the last bytes came
        self._end_at: float | None = None  # when all patience ends, whatever time-out is set
        self._received = 0  # bytes since patience began
        self._look_out: Callable[[], None] | None = None
        self.unpoured = 0  # bytes of what is poured that no sink has been given
        self.was_answered = False  # the peer has ever said anything

    @classmethod
    def open(cls, peer: Peer, interruption: Interruption, tls: ssl.SSLContext | None) -> Connection:
        """Connects to the first of the host's addresses that answers.

        Raises NODE_UNREACHABLE, TLS_FAILED, INTERRUPTED.
        """
        connected = _connect(peer, interruption)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is not None:
                connected = _handshake(peer, interruption, connected, tls)
        except BaseException:
            interruption.forget(connected)
            connected.close()
            raise
        return cls(peer, connected, interruption, is_tls=tls is not None)

    def set_timeout(
        self, seconds: float, *, every: int | None = None, look_out: Callable[[], None] | None = None
    ) -> None:
        """How long the peer may take from now on: for a send, and for all that is received until the next call.

        With `every`, for each so many bytes received instead; then the time that their taker needs does not
        count. Either way a peer that sends a byte now and then does not hold us for ever (PS3.8 section 9.1.5:
        ARTIM is one timer, not one for each byte). `look_out` is called now and then until the next call, and may
        raise: nothing that came is lost by that.
        """
        self._look_out = look_out
        self._came_at = time.monotonic()
        if self._end_at is not None:
            seconds, every = min(seconds, max(0.001, self._end_at - self._came_at)), None
        self._seconds, self._every, self._received = seconds, every, 0
        self._give_up = self._came_at + seconds
        if self._end_at is not None:
            self._give_up = min(self._give_up, self._end_at)
        self._socket.settimeout(seconds)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """No time-out that is set meanwhile goes beyond these seconds from now."""
        self._end_at = time.monotonic() + seconds
        try:
            yield
        finally:
            self._end_at = None

    def spare(self) -> None:
        """An interruption severs it some seconds later only: its user looks out for one and takes leave."""
        self._interruption.spare(self._socket)

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Sends all parts, in one system call where the kernel has room for them. At most 1,000 parts."""
        try:
            self._socket.settimeout(self._seconds)
            if self._is_tls:
                self._socket.sendall(b"".join(parts))
            else:
                sent = self._socket.sendmsg(parts)
                if sent < sum(len(part) for part in parts):
                    self._socket.sendall(memoryview(b"".join(parts))[sent:])
        except OSError as error:
            raise self._fault(self._last_words(error)) from error
        self._acknowledge_at_once()

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, or none of them where a look out breaks off; of a megabyte at most."""
        if self._end - self._start < count <= _BUFFER:
            self._gather(count)
        if self._end - self._start >= count:  # the common case: a PDU's header that is already here
            taken = bytes(self._buffer[self._start : self._start + count])
            self._start += count
            return taken
        collected = bytearray()
        self.pour(count, collected.extend)
        return bytes(collected)

    def pour(self, count: int, sink: Callable[[memoryview], object]) -> None:
        """Hands exactly `count` bytes to `sink`, piece by piece; a piece is valid during the call only."""
        self.unpoured = count
        while self.unpoured:
            if self._start == self._end:
                self._fill()
            piece = self._buffer[self._start : min(self._end, self._start + self.unpoured)]
            self._start += len(piece)
            self.unpoured -= len(piece)
            sink(piece)

    def drain(self, seconds: float) -> None:
        """Says that nothing more is sent, and throws away what comes until the peer closes too, `seconds` at most."""
        give_up = time.monotonic() + seconds
        _shut_down(self._socket, socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while time.monotonic() < give_up and self._socket.recv_into(self._buffer):
                pass

    @property
    def has_input(self) -> bool:
        """Whether a receive would not have to wait: there are bytes, or the peer has closed."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether a receive would not have to wait, within so many seconds."""
        if self._start < self._end or (self._is_tls and self._socket.pending()):  # type: ignore[attr-defined]
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    @property
    def is_late(self) -> bool:
        """Whether the peer's time is over."""
        return time.monotonic() >= self._give_up

    @property
    def is_closed(self) -> bool:
        return self._socket.fileno() < 0

    def close(self) -> None:
        self._interruption.forget(self._socket)
        self._socket.close()

    def _gather(self, count: int) -> None:
        """So many bytes side by side in the buffer."""
        left = self._buffer[self._start : self._end]
        self._buffer[: len(left)] = left
        self._start, self._end = 0, len(left)
        while self._end < count:
            self._fill()

    def _fill(self) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        began = time.monotonic()
        if self._every is not None:
            self._give_up += began - self._came_at
        try:
            received = self._receive(began)
        except OSError as error:
            raise self._fault(error) from error
        if not received:
            raise self._fault(ConnectionResetError("the peer closed the connection"))
        self._end += received
        self._received += received
        self.was_answered = True
        self._came_at = time.monotonic()
        if self._every is not None and self._received >= self._every:
            self._received, self._give_up = 0, self._came_at + self._seconds
        self._acknowledge_at_once()

    def _receive(self, now: float) -> int:
        """Bytes into the buffer; none at the end. Raises TimeoutError when patience ends."""
        while now < self._give_up:
            if self._look_out is not None:
                self._look_out()
            left = self._give_up - now
            self._socket.settimeout(left if self._look_out is None else min(_TICK, left))
            try:
                return self._socket.recv_into(self._buffer[self._end :])
            except TimeoutError:
                now = time.monotonic()
        raise TimeoutError

    def _acknowledge_at_once(self) -> None:
        if QUICKACK is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    def _last_words(self, error: OSError) -> OSError:
        """Why a TLS peer hung up: in TLS 1.3 it judges our certificate only after its part of the handshake."""
        if not self._is_tls or self.was_answered or isinstance(error, TimeoutError):
            return error
        try:
            self._socket.settimeout(_LAST_WORDS)
            self._socket.recv_into(self._buffer)
        except OSError as said:
            return said if _is_of_tls(said) else error
        return error

    def _fault(self, error: OSError) -> TransferFault:
        if self._interruption.is_set():
            return interrupted(self._peer)
        if isinstance(error, TimeoutError):
            slow = f"sent only {self._received} bytes of an answer in" if self._received else "was silent for"
            return self._peer.fault(
                FaultCode.NODE_TIMEOUT,
                f"{self._peer.address} {slow} {self._seconds:g} s",
                "See whether the node is overloaded; raise the node's timeouts if it is only slow.",
            )
        if self._is_tls and _is_of_tls(error):
            return tls_failed(self._peer, error)
        return self._peer.fault(
            FaultCode.ASSOCIATION_ABORTED,
            f"The connection to {self._peer.address} broke ({_words(error)})",
            "If it happens each time, look into the node's log and the network between.",
        )


def interrupted(peer: Peer) -> TransferFault:
    return peer.fault(FaultCode.INTERRUPTED, "Work with the node was stopped", "It goes on with the next attempt.")


def _is_of_tls(error: OSError) -> TypeGuard[ssl.SSLError]:
    """Whether TLS itself failed, and not the peer that went away."""
    import ssl  # only here and in the handshake: it is slow to import, and few nodes need it

    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def tls_failed(peer: Peer, error: ssl.SSLError) -> TransferFault:
    from adit.dicom.tls_failure import tls_failure

    failure = tls_failure(error, _tls_name(peer))
    return peer.fault(FaultCode.TLS_FAILED, f"{peer.address} {failure.what}", failure.cure)


def _tls_name(peer: Peer) -> str:
    tls = peer.dimse.tls
    return (tls.server_name if tls else None) or peer.dimse.host


def _connect(peer: Peer, interruption: Interruption) -> socket.socket:
    cure = "Check the node's host and port, that the peer runs, and that no firewall stands between."
    try:
        addresses = socket.getaddrinfo(peer.dimse.host, peer.dimse.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise peer.fault(
            FaultCode.NODE_UNREACHABLE, f"The host name {peer.dimse.host} cannot be resolved", cure
        ) from error
    last: OSError = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        attempt = socket.socket(family, kind, protocol)
        interruption.watch(attempt)
        try:
            attempt.settimeout(peer.dimse.timeouts.connect_seconds)
            attempt.connect(address)
        except OSError as error:
            interruption.forget(attempt)
            attempt.close()
            last = error
        else:
            return attempt
    if interruption.is_set():
        raise interrupted(peer)
    raise peer.fault(FaultCode.NODE_UNREACHABLE, f"Nothing answers at {peer.address} ({_words(last)})", cure) from last


def _handshake(
    peer: Peer, interruption: Interruption, connected: socket.socket, context: ssl.SSLContext
) -> socket.socket:
    from adit.dicom.dimse.mismatch import speaks_plainly

    wrapped = context.wrap_socket(connected, server_hostname=_tls_name(peer), do_handshake_on_connect=False)
    interruption.forget(connected)
    interruption.watch(wrapped)
    try:
        wrapped.do_handshake()
    except OSError as error:
        interruption.forget(wrapped)
        wrapped.close()
        if interruption.is_set():
            raise interrupted(peer) from error
        if _is_of_tls(error):
            raise tls_failed(peer, error) from error
        if speaks_plainly(peer):
            raise peer.fault(
                FaultCode.TLS_FAILED,
                f"{peer.address} speaks DICOM without TLS",
                "Name the port where it speaks TLS, or leave out `tls` if the network between is trusted.",
            ) from error
        raise peer.fault(
            FaultCode.NODE_UNREACHABLE,
            f"{peer.address} broke off the TLS handshake ({_words(error)})",
            "Check that the peer runs and speaks TLS at this port.",
        ) from error
    return wrapped


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__
