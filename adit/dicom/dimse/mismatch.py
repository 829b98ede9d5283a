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
from adit.dicom.tls_answer import answers_tls

_SECONDS: Final = 5.0
_ACCEPT, _REJECT, _ABORT = 0x02, 0x03, 0x07
_VERIFICATION: Final = Proposal("1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
_NOBODY: Final = "ADIT-ASKS"


def speaks_tls(peer: Peer) -> bool:
    return answers_tls(peer.dimse.host, peer.dimse.port, peer.dimse.timeouts.connect_seconds)


def speaks_plainly(peer: Peer) -> bool:
    """Whether it answers an association request in the open, which names neither of us."""
    dimse = peer.dimse.model_copy(update={"ae_title": _NOBODY, "calling_ae_title": _NOBODY, "tls": None})
    place, timeout = (dimse.host, dimse.port), min(_SECONDS, dimse.timeouts.connect_seconds)
    with contextlib.suppress(OSError), socket.create_connection(place, timeout) as connected:
        connected.sendall(request(Peer(peer.node, dimse), (_VERIFICATION,)))
        return connected.recv(1)[:1] in (bytes([_ACCEPT]), bytes([_REJECT]), bytes([_ABORT]))
    return False
