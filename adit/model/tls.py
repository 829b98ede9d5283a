"""TLS towards a peer, as DIMSE and DICOMweb nodes have it. Read by the nodes, and by whoever hands Secrets to a pod."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from adit.model.identifiers import Hostname, Name
from adit.model.resource import Strict

TLS_KEYS: Final = ("ca.crt", "tls.crt", "tls.key")
"""What a Secret with certificates may hold, as Kubernetes names it."""


class TLS(Strict):
    """TLS towards a peer (PS3.15 Annex B).

    The secret holds `ca.crt`, and for a client certificate `tls.crt` and `tls.key`, as Kubernetes
    names them: a projected Secret in a pod, a folder `<secrets>/<secretName>/` on one machine.
    """

    secret_name: Name = Field(description="Where the certificates are: a Secret's name.")
    server_name: Hostname | None = Field(
        default=None, description="The name that the peer's certificate must bear; the host if absent."
    )
