"""urllib3's connections, with time-outs for each phase of an exchange and an end that can come from outside.

Used by `client`. urllib3 knows two time-outs, and sends a body under the one for connecting; here sending, waiting
for an answer and receiving it have each their own. `Interruption` severs a connection whatever it waits for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from adit.dicom.dimse.connection import Interruption

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse

    _Base = HTTPConnection
else:
    _Base = object


class _Watched(_Base):
    """Waits `network_seconds` for each piece to be taken or to come; for an answer to begin, what the request says.

    Its headers must have come as long after that: each line that trickles in would be waited for anew.
    """

    def __init__(self, *args: Any, interruption: Interruption, network_seconds: float, **more: Any) -> None:
        super().__init__(*args, **more)
        self._interruption = interruption
        self._network_seconds = network_seconds
        self._held: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._interruption.watch(made)  # already during a TLS handshake
        return made

    def connect(self) -> None:
        super().connect()
        self._held = self.sock  # an answer may outlive `sock`, which goes with "Connection: close"
        self._interruption.watch(self._held)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._network_seconds)
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself has it
        late = threading.Event()
        timer = threading.Timer((self.timeout or 0.0) + self._network_seconds, self._sever, (late,))
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()
        except (OSError, HTTPException) as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        if late.is_set():  # to http.client headers end where a connection does
            response.close()
            raise TimeoutError
        if self._held is not None and self._held.fileno() >= 0:
            self._held.settimeout(self._network_seconds)
        return response

    def _sever(self, late: threading.Event) -> None:
        late.set()
        with contextlib.suppress(OSError):
            if self._held is not None:
                socket.socket.shutdown(self._held, socket.SHUT_RDWR)


class _Plain(_Watched, HTTPConnection):
    pass


class _Encrypted(_Watched, HTTPSConnection):
    pass


class PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted
