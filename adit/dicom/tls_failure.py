"""Why TLS with a peer failed and what mends it: judged by OpenSSL's codes, never by its words.

Called by the nodes of peers and buckets, which tell it in their node's name.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final

_NOT_YET, _EXPIRED, _REVOKED = 9, 10, 23  # X509_V_ERR_*
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21, 24, 27})
_OTHER_NAME: Final = frozenset({62, 64})  # host name, address
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"})
_NOTHING_IN_COMMON: Final = frozenset(
    {"UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION", "DH_KEY_TOO_SMALL"}
)
_ALERTS_ABOUT_US: Final = frozenset(
    {
        "UNKNOWN_CA",
        "BAD_CERTIFICATE",
        "CERTIFICATE_UNKNOWN",
        "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_REVOKED",
        "ACCESS_DENIED",
        "DECRYPT_ERROR",
    }
)


@dataclass(frozen=True, slots=True)
class TLSFailure:
    """What happened, as the end of a sentence that begins with the peer; and the cure."""

    what: str
    cure: str


def tls_failure(error: ssl.SSLError, name: str, field: str = "tls.serverName") -> TLSFailure:
    """`name` is what the peer's certificate should bear, and `field` of the node gives it another."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_its_certificate(error, name, field)
    reason = error.reason or ""
    if reason in _NO_TLS:
        return TLSFailure("does not speak TLS at this port", "Name the port where it does, or leave out `tls`.")
    alert = reason.partition("_ALERT_")[2]
    if alert == "CERTIFICATE_REQUIRED":
        return TLSFailure(
            "asks for a client certificate",
            "Put tls.crt and tls.key, signed by an authority that it trusts, into the Secret beside ca.crt.",
        )
    if alert == "CERTIFICATE_EXPIRED":
        return TLSFailure("says that our certificate has expired", "Renew tls.crt and tls.key in the Secret.")
    if alert in _ALERTS_ABOUT_US:
        return TLSFailure(
            "does not accept our certificate",
            "Have it trust the authority that signed tls.crt, or put a tls.crt of its own authority into the Secret.",
        )
    if alert == "HANDSHAKE_FAILURE":  # of TLS 1.2, for either reason
        return TLSFailure(
            "breaks the TLS handshake off",
            "If it asks for a client certificate, put tls.crt and tls.key into the Secret beside ca.crt; else have a "
            "cipher enabled there that we know (PS3.15 annex B).",
        )
    if alert in ("PROTOCOL_VERSION", "INSUFFICIENT_SECURITY") or reason in _NOTHING_IN_COMMON:
        return TLSFailure(
            "has no TLS version or cipher in common with us", "Have TLS 1.2 or newer enabled there (PS3.15 annex B)."
        )
    return TLSFailure(
        f"failed in the TLS handshake ({reason.replace('_', ' ').lower() or 'no reason given'})",
        "Check the certificates of both sides, and the peer's log.",
    )


def _of_its_certificate(error: ssl.SSLCertVerificationError, name: str, field: str) -> TLSFailure:
    code = error.verify_code
    if code == _EXPIRED:
        return TLSFailure("shows a certificate that has expired", "Have the peer's certificate renewed.")
    if code == _NOT_YET:
        return TLSFailure(
            "shows a certificate that is not valid yet", "Check the clocks of both sides, and when it was issued."
        )
    if code == _REVOKED:
        return TLSFailure("shows a certificate that was revoked", "Have the peer's certificate replaced.")
    if code in _OTHER_NAME:
        return TLSFailure(
            f"shows a certificate that does not bear the name {name}",
            f"Give a name that it bears as `{field}`, or have it issued for this one.",
        )
    if code in _UNKNOWN_AUTHORITY:
        return TLSFailure(
            "shows a certificate of an authority that we do not trust",
            "Put the certificate of the authority that signed it into ca.crt of the Secret.",
        )
    return TLSFailure(f"shows a certificate that cannot be accepted (X.509 error {code})", "Have it replaced.")
