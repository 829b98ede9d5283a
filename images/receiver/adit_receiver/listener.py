"""Takes connections, runs each association in a thread, and keeps all of them within their bounds. Made by `main`.

A connection waits, with a small buffer, until it has asked for an association. There is room for so many that wait;
when it is full, the address that has most of them loses its oldest: an honest peer asks at once, and comes through.
Associations that say nothing are no different, once their places are taken: see `admission`.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from adit.dicom.byte_stream import ByteStream
from adit_receiver import counts
from adit_receiver.admission import is_free, may_connect, place_for
from adit_receiver.association import Association
from adit_receiver.negotiation import Rejection
from adit_receiver.outlet import Outlets
from adit_receiver.room import Room
from adit_receiver.settings import ReceiverSettings

if TYPE_CHECKING:
    import ssl

_log = structlog.get_logger(__name__)
_TICK: Final = 0.5  # seconds in which slow connections and the end are noticed
_LAST_WORDS: Final = 3.0  # seconds for threads to end after their connections were severed


@dataclass(eq=False)
class _Guest:
    """One connection."""

    host: str
    connected: socket.socket
    came_at: float
    number: int
    stream: ByteStream | None = None  # once TLS, if any, is agreed
    association: Association | None = None
    associated: bool = False
    thread: threading.Thread | None = field(default=None)

    @property
    def silent_since(self) -> float | None:
        return None if self.association is None else self.association.silent_since

    def sever(self) -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connected, socket.SHUT_RDWR)


class Listener:
    """`run` takes connections until `drain`; `outlets` makes one association's way out for its objects."""

    def __init__(
        self,
        listening: socket.socket,
        settings: ReceiverSettings,
        outlets: Callable[[], Outlets],
        room: Room,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._listening = listening
        self._settings = settings
        self._outlets = outlets
        self._room = room
        self._tls = tls
        self._draining = threading.Event()
        self._lock = threading.Lock()
        self._guests: set[_Guest] = set()
        self._numbers = itertools.count(1)
        self._waker, self._woken = socket.socketpair()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    @property
    def lacking(self) -> str | None:
        """What there is too little of for one more association, in a word; that all places are taken may end soon."""
        return self._room.lacking

    def drain(self) -> None:
        """No more connections; open associations go on for a while. From any thread, or a signal handler's."""
        self._draining.set()
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def run(self) -> None:
        """Until it was told to drain, and every connection has ended or was severed."""
        self._listening.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._draining.is_set():
                ready = {key.fileobj for key, _ in selector.select(_TICK)}
                if self._listening in ready and not self._draining.is_set():
                    self._take()
                self._hurry()
        self._listening.close()
        self._end()

    # --- connections ---

    def _take(self) -> None:
        try:
            connected, address = self._listening.accept()
        except OSError:  # gone again; or no descriptor is left, which a pause may mend
            time.sleep(0.01)
            return
        connected.setblocking(True)
        host = str(address[0])
        if not may_connect(host, self._settings.calling_networks):
            counts.CONNECTIONS.labels("forbidden").inc()
            _log.warning("connection refused", peer=host, reason="network")
            connected.close()
            return
        self._make_room()
        guest = _Guest(host, connected, time.monotonic(), next(self._numbers))
        guest.thread = threading.Thread(
            target=self._host, args=(guest,), name=f"association-{guest.number}", daemon=True
        )
        with self._lock:
            self._guests.add(guest)
        try:
            guest.thread.start()
        except RuntimeError:  # no more threads
            self._leave(guest)

    def _make_room(self) -> None:
        with self._lock:
            waiting = [guest for guest in self._guests if not guest.associated]
        if len(waiting) < self._settings.waiting:
            return
        by_host = Counter(guest.host for guest in waiting)
        most = max(by_host.values())
        oldest = min((guest for guest in waiting if by_host[guest.host] == most), key=lambda guest: guest.number)
        counts.CONNECTIONS.labels("displaced").inc()
        oldest.sever()
        with self._lock:
            self._guests.discard(oldest)  # its thread ends by itself

    def _hurry(self) -> None:
        """Ends connections that have not asked for an association in time, however they trickle."""
        oldest = time.monotonic() - self._settings.request_seconds - _TICK
        with self._lock:
            late = [guest for guest in self._guests if not guest.associated and guest.came_at < oldest]
        for guest in late:
            guest.sever()

    def _end(self) -> None:
        """What has not associated goes at once, associations may go on until the drain is over."""
        give_up = time.monotonic() + self._settings.drain_seconds
        with self._lock:
            guests = list(self._guests)
        for guest in guests:
            if not guest.associated:
                guest.sever()
        _log.info("draining", associations=sum(guest.associated for guest in guests))
        for guest in guests:
            if guest.thread is not None:
                guest.thread.join(max(0.0, give_up - time.monotonic()))
        for guest in guests:
            guest.sever()
        give_up = time.monotonic() + _LAST_WORDS
        for guest in guests:
            if guest.thread is not None:
                guest.thread.join(max(0.0, give_up - time.monotonic()))

    # --- one connection, in its own thread ---

    def _host(self, guest: _Guest) -> None:
        begun = time.monotonic()
        result = "closed"
        try:
            stream = self._stream(guest)
            if stream is None:
                result = "tls-failed"
                return
            guest.association = Association(
                stream, self._settings, self._outlets(), lambda: self._admit(guest), self._draining
            )
            result = str(guest.association.run())
        except Exception:  # noqa: BLE001 - a bug must not end the others' associations
            result = "failed"
            _log.exception("an association failed", peer=guest.host)
        finally:
            self._leave(guest)
            counts.CONNECTIONS.labels(result).inc()
            association = guest.association
            if association is not None and association.calling is not None:
                _log.info(
                    "association ended",
                    peer=guest.host,
                    calling=association.calling,
                    called=association.called,
                    result=result,
                    **({} if association.rejected is None else {"reason": str(association.rejected)}),
                    seconds=round(time.monotonic() - begun, 3),
                    objects=dict(association.fates),
                )

    def _stream(self, guest: _Guest) -> ByteStream | None:
        """None if TLS cannot be agreed on."""
        if self._tls is not None:
            guest.connected.settimeout(self._settings.request_seconds)
            try:
                # The plain socket gives its descriptor away; severing goes on by the new one.
                guest.connected = self._tls().wrap_socket(
                    guest.connected, server_side=True, do_handshake_on_connect=False
                )
                guest.connected.do_handshake()
            except (OSError, ValueError) as error:
                _log.warning("no TLS was agreed", peer=guest.host, reason=_reason(error))
                return None
        guest.stream = ByteStream(guest.connected)
        return guest.stream

    def _admit(self, guest: _Guest) -> Rejection | None:
        if self._draining.is_set():
            return Rejection.CONGESTION
        lacking = self._room.lacking
        if lacking is not None:
            _log.warning("association refused", peer=guest.host, lacking=lacking)
            return Rejection.CONGESTION
        with self._lock:
            taken = [each for each in self._guests if each.associated]
            if not is_free(guest.host, taken, self._settings.associations):
                silent_before = time.monotonic() - self._settings.request_seconds
                loser = place_for(guest.host, taken, silent_before)
                if loser is None:
                    return Rejection.LIMIT
                self._displace(loser)
            guest.associated = True
        counts.ASSOCIATIONS.inc()
        return None

    def _displace(self, loser: _Guest) -> None:
        """Under the lock. Should it say something at this very moment, it hears no answer, as on a line that is cut."""
        loser.associated = False
        self._guests.discard(loser)  # its thread ends by itself
        loser.sever()
        counts.ASSOCIATIONS.dec()
        counts.CONNECTIONS.labels("displaced").inc()
        _log.warning("association displaced", peer=loser.host, reason="silent while all places are taken")

    def _leave(self, guest: _Guest) -> None:
        with self._lock:
            self._guests.discard(guest)
        if guest.associated:
            counts.ASSOCIATIONS.dec()
        with contextlib.suppress(OSError):
            guest.connected.close()


def _reason(error: Exception) -> str:
    """OpenSSL's own word for it, and for a certificate what is wrong with it."""
    reason = getattr(error, "reason", None) or type(error).__name__
    about = getattr(error, "verify_message", None)
    return f"{reason}: {about}" if about else str(reason)
