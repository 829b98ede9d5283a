"""The boto3 client of a node: endpoint, credentials, TLS and time-outs. Called by `bucket` for its first request.

Without a Secret the identity is the ambient one, as boto3 finds it: variables, a web identity (IRSA), the machine's.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from adit.dicom.s3.faults import S3Faults
from adit.dicom.s3.pace import paced_pools
from adit.dicom.secret_place import secret_place
from adit.model.outcome import FaultCode
from adit.model.s3 import CREDENTIAL_KEYS, S3

_LOCK: Final = threading.Lock()
_TRIES: Final = 3
"""Of each request, with pauses of up to 1 and 2 seconds: what fails in passing (503, a cut connection) mostly heals."""


def connect(s3: S3, secrets: Path | None, connections: int, faults: S3Faults) -> Any:
    """Speaks to nobody yet. Raises SECRET_MISSING, TLS_FAILED."""
    for name in ("boto3", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their lines hold keys, and a key may name a patient
    path_style = s3.path_style if s3.path_style is not None else s3.endpoint is not None
    verify, certificate = _certificates(s3, secrets, faults)
    config = Config(
        signature_version="s3v4",
        connect_timeout=s3.timeouts.connect_seconds,
        read_timeout=s3.timeouts.network_seconds,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        max_pool_connections=connections,
        s3={"addressing_style": "path" if path_style else "virtual"},
        # Ours are set with each write. Others' default would be a trailer, which many servers don't know.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
        client_cert=certificate,
        tcp_keepalive=True,
    )
    credentials = _credentials(s3, secrets, faults)
    try:
        with _LOCK:  # making clients is not safe for threads, using them is
            client = _session().client(
                "s3", region_name=s3.region, endpoint_url=s3.endpoint, verify=verify, config=config, **credentials
            )
            # There is no public way; a test sees whether this one leads anywhere.
            client._endpoint.http_session._pool_classes_by_scheme.update(paced_pools(s3.timeouts.network_seconds))
            return client
    except OSError as error:
        raise faults.fault(
            FaultCode.TLS_FAILED,
            f"The certificates for {faults.where} cannot be used ({error.strerror or type(error).__name__}).",
            "Check that they are readable PEM and that tls.key belongs to tls.crt.",
        ) from error


@cache
def _session() -> Any:
    """One for all nodes of the process: it reads the description of the S3 API, which takes its time."""
    return boto3.session.Session()


def _credentials(s3: S3, secrets: Path | None, faults: S3Faults) -> dict[str, str]:
    """As arguments for the client; none for the ambient identity."""
    if s3.credentials is None:
        return {}
    folder = _folder(s3.credentials.secret_name, secrets, faults)
    found = {key: value for key in CREDENTIAL_KEYS if (value := _read(folder / key))}
    if missing := [key for key in CREDENTIAL_KEYS[:2] if key not in found]:
        raise faults.fault(
            FaultCode.SECRET_MISSING,
            f"The secret {folder.name} lacks {' and '.join(missing)}{secret_place(folder)}.",
            "Put both there; AWS_SESSION_TOKEN as well where the credentials are temporary ones.",
        )
    return {key.lower(): value for key, value in found.items()}


def _certificates(s3: S3, secrets: Path | None, faults: S3Faults) -> tuple[str | None, tuple[str, str] | None]:
    """The authority's file (None: the system's), and the client certificate with its key."""
    if s3.tls is None:
        return None, None
    folder = _folder(s3.tls.secret_name, secrets, faults)
    authority, certificate, key = folder / "ca.crt", folder / "tls.crt", folder / "tls.key"
    ours = certificate.exists() or key.exists()
    if missing := [file.name for file in (authority, *((certificate, key) if ours else ())) if not file.is_file()]:
        raise faults.fault(
            FaultCode.SECRET_MISSING,
            f"The secret {folder.name} lacks {' and '.join(missing)}{secret_place(folder)}.",
            "Put ca.crt there, and for a client certificate tls.crt together with tls.key.",
        )
    return str(authority), (str(certificate), str(key)) if ours else None


def _folder(name: str, secrets: Path | None, faults: S3Faults) -> Path:
    if secrets is None:
        raise faults.fault(
            FaultCode.SECRET_MISSING,
            f"The node asks for the secret {name}, and no folder of secrets is configured.",
            "Set ADIT_SECRETS to a folder that holds one folder per secret.",
        )
    return secrets / name


def _read(file: Path) -> str:
    """Without the line's end that editors put there; empty where there is none."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
