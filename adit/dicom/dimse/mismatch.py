"""Whether a peer that broke off at once speaks TLS where we do not, or the other way round.

Called by `association`, `connection` and `dicomweb.client` when a connection ended before the peer had said anything:
DCMTK and Orthanc just hang up then. A fault that says why is mended at once; one that looks like the network's is
tried again for hours.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from adit.dicom.dimse.negotiation import Proposal, request
from adit.dicom.dimse.peer import Peer

_SECONDS: Final = 5.0
_ACCEPT, _REJECT, _ABORT = 0x02, 0x03, 0x07
_VERIFICATION: Final = Proposal("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
_NOBODY: Final = "ADIT-ASKS"


def speaks_tls(peer: Peer) -> bool:
    return answers_tls(peer.dimse.host, peer.dimse.port, peer.dimse.timeouts.connect_seconds)


def answers_tls(host: str, port: int, connect_seconds: float) -> bool:
    """Whether the first words of TLS are answered in kind there; its certificate does not matter."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(host, port, connect_seconds) as connected, context.wrap_socket(connected):
            return True
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return False
    except ssl.SSLError as error:
        return "_ALERT_" in (error.reason or "")
    except OSError:
        return False


def speaks_plainly(peer: Peer) -> bool:
    """Whether it answers an association request in the open, which names neither of us."""
    dimse = peer.dimse.model_copy(update={"ae_title": _NOBODY, "calling_ae_title": _NOBODY, "tls": None})
    place = peer.dimse.host, peer.dimse.port, peer.dimse.timeouts.connect_seconds
    with contextlib.suppress(OSError), _connected(*place) as connected:
        connected.sendall(request(Peer(peer.node, dimse), (_VERIFICATION,)))
        return connected.recv(1)[:1] in (bytes([_ACCEPT]), bytes([_REJECT]), bytes([_ABORT]))
    return False


def _connected(host: str, port: int, connect_seconds: float) -> socket.socket:
    return socket.create_connection((host, port), timeout=min(_SECONDS, connect_seconds))
