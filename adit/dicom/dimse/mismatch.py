"""Whether a peer that broke off at once speaks TLS where we do not, or the other way round.

Called by `association` and `connection` when a connection ended before the peer had said anything: DCMTK and Orthanc
just hang up then. A fault that says why is mended at once; one that looks like the network's is tried again for hours.
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
    """Whether it answers the first words of TLS in kind; its certificate does not matter."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(peer) as connected, context.wrap_socket(connected):
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
    with contextlib.suppress(OSError), _connected(peer) as connected:
        connected.sendall(request(Peer(peer.node, dimse), (_VERIFICATION,)))
        return connected.recv(1)[:1] in (bytes([_ACCEPT]), bytes([_REJECT]), bytes([_ABORT]))
    return False


def _connected(peer: Peer) -> socket.socket:
    seconds = min(_SECONDS, peer.dimse.timeouts.connect_seconds)
    return socket.create_connection((peer.dimse.host, peer.dimse.port), timeout=seconds)
