"""What a node's Secrets hold: who we are, and whom we trust.

Called by `client`: the certificates once per node, the credentials for each request, so that a token which is
renewed in its Secret counts at once.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path

from adit.dicom.dicomweb.server import Server
from adit.dicom.secret_place import secret_place
from adit.model.dicom_web import KEYS_OF_SCHEME, Scheme
from adit.model.outcome import FaultCode, TransferFault


def credential_headers(server: Server, secrets: Path | None) -> dict[str, str]:
    """Empty where the server needs to know nobody. Raises SECRET_MISSING."""
    given = server.web.credentials
    if given is None:
        return {}
    folder = _folder(server, secrets, given.secret_name)
    values = {key: _text(server, folder / key) for key in KEYS_OF_SCHEME[given.scheme]}
    match given.scheme:
        case Scheme.BASIC:
            pair = f"{values['username']}:{values['password']}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode('ascii')}"}
        case Scheme.BEARER:
            return {"Authorization": f"Bearer {values['token']}"}
        case Scheme.HEADER:
            return {given.header_name or "Authorization": values["value"]}


def client_context(server: Server, secrets: Path | None) -> ssl.SSLContext:
    """The TLS context of an https node. Raises SECRET_MISSING, TLS_FAILED."""
    tls = server.web.tls
    if tls is None:
        return _at_least_1_2(ssl.create_default_context())
    folder = _folder(server, secrets, tls.secret_name)
    authority, certificate, key = folder / "ca.crt", folder / "tls.crt", folder / "tls.key"
    if not any(file.is_file() for file in (authority, certificate, key)):
        raise _missing(
            server,
            tls.secret_name,
            f"has neither ca.crt nor tls.crt and tls.key{secret_place(folder)}",
        )
    if certificate.is_file() != key.is_file():
        raise _missing(server, tls.secret_name, "has one of tls.crt and tls.key without the other")
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority.is_file() else None)
        if certificate.is_file():
            context.load_cert_chain(str(certificate), str(key))
    except OSError as error:
        raise server.fault(
            FaultCode.TLS_FAILED,
            f"The secret {tls.secret_name} cannot be used ({error.strerror or type(error).__name__})",
            "Check that its files are readable PEM and that tls.key belongs to tls.crt.",
        ) from error
    return _at_least_1_2(context)


def _at_least_1_2(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _folder(server: Server, secrets: Path | None, name: str) -> Path:
    if secrets is None:
        raise server.fault(
            FaultCode.SECRET_MISSING,
            f"The node names the secret {name}, and no folder of secrets is configured",
            "Set ADIT_SECRETS to a folder that holds one folder per secret.",
        )
    return secrets / name


def _text(server: Server, file: Path) -> str:
    """One line, without the line's end that editors leave. What no header can bear is told without showing it."""
    try:
        text = file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _missing(
            server,
            file.parent.name,
            f"has no {file.name} that can be read{secret_place(file.parent)}",
        ) from error
    if not text or not text.isprintable() or not (text.isascii() or file.name in ("username", "password")):
        raise _missing(server, file.parent.name, f"has a {file.name} that is empty or no single line of text")
    return text


def _missing(server: Server, name: str, what: str) -> TransferFault:
    return server.fault(
        FaultCode.SECRET_MISSING, f"The secret {name} {what}", "See docs/dicomnode.md for what a Secret must hold."
    )
