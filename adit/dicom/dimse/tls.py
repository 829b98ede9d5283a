"""The TLS context of a node, from its secret's folder (PS3.15 Annex B: BCP 195).

Called by `node` once per DimseNode. The folder holds `ca.crt`, and for a client certificate `tls.crt`
and `tls.key`, as a projected Kubernetes Secret does.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from adit.dicom.dimse.peer import Peer
from adit.dicom.secret_place import secret_place
from adit.model.outcome import FaultCode


def client_context(peer: Peer, secrets: Path | None) -> ssl.SSLContext | None:
    """None when the node doesn't ask for TLS. Raises SECRET_MISSING, TLS_FAILED."""
    if peer.dimse.tls is None:
        return None
    name = peer.dimse.tls.secret_name
    if secrets is None:
        raise peer.fault(
            FaultCode.SECRET_MISSING,
            f"The node asks for TLS with the secret {name}, and no folder of secrets is configured",
            "Set ADIT_SECRETS to a folder that holds one folder per secret.",
        )
    folder = secrets / name
    authority, certificate, key = folder / "ca.crt", folder / "tls.crt", folder / "tls.key"
    needed = [authority, *([certificate, key] if certificate.exists() or key.exists() else [])]
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        raise peer.fault(
            FaultCode.SECRET_MISSING,
            f"The secret {name} lacks {' and '.join(missing)}{secret_place(folder)}",
            "Put ca.crt there, and for a client certificate tls.crt together with tls.key.",
        )
    try:
        context = ssl.create_default_context(cafile=str(authority))
        if len(needed) > 1:
            context.load_cert_chain(str(certificate), str(key))
    except OSError as error:
        raise peer.fault(
            FaultCode.TLS_FAILED,
            f"The secret {name} cannot be used ({error.strerror or type(error).__name__})",
            "Check that its files are readable PEM and that tls.key belongs to tls.crt.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same in every Python: the peer's own certificate may stand in ca.crt, and the authorities that hospitals make
    # for their devices need not have every extension that RFC 5280 asks for.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
