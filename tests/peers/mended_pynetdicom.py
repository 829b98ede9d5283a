"""What pynetdicom 3.0 does wrong at the end of a connection, mended for the scripted peers, which import this.

It closes a socket only where shutting it down worked. After a peer's reset (a killed receiver) that does not, the
socket is left to the garbage collector, and whichever test runs then fails by the warning.
"""

from __future__ import annotations

from contextlib import suppress
from socket import SHUT_RDWR, socket

from pynetdicom.transport import AssociationSocket


def _shut_and_close(self: AssociationSocket) -> None:
    open_socket: socket | None = self.socket
    if open_socket is None:
        return
    with suppress(OSError):
        open_socket.shutdown(SHUT_RDWR)
    with suppress(OSError):
        open_socket.close()


setattr(AssociationSocket, "_shutdown_socket", _shut_and_close)  # noqa: B010
