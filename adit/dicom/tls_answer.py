"""Whether a server that broke off at once would have spoken TLS. Asked by DIMSE's and DICOMweb's nodes that do not
speak it: DCMTK, Orthanc and many a web server just hang up then, and such a fault is mended, not waited for."""

from __future__ import annotations

import socket
import ssl
from typing import Final

_SECONDS: Final = 5.0


def answers_tls(host: str, port: int, connect_seconds: float) -> bool:
    """Whether the first words of TLS are answered in kind there; its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    timeout = min(_SECONDS, connect_seconds)
    try:
        with socket.create_connection((host, port), timeout) as connected, context.wrap_socket(connected):
            return True
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return False
    except ssl.SSLError as error:
        return "_ALERT_" in (error.reason or "")
    except OSError:
        return False
