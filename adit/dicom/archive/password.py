"""The password of a node's archives, from its Secret. Called by `node` when an archive is made or read again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adit.dicom.folder.faults import FolderFaults
from adit.dicom.secret_place import secret_place
from adit.model.archive import Archive
from adit.model.outcome import FaultCode, TransferFault

_LEAST: Final = 8
"""Characters, the least that NIST SP 800-63B allows people: whoever has an archive may try passwords unseen."""


def password(archive: Archive, secrets: Path | None, faults: FolderFaults) -> str:
    """One line, without the line's end that editors leave. Raises SECRET_MISSING; the value is never told."""
    name = archive.secret_name
    if secrets is None:
        raise _missing(
            faults,
            f"The node names the secret {name}, and no folder of secrets is configured.",
            "Set ADIT_SECRETS to a folder that holds one folder per secret.",
        )
    cure = "Make the Secret with a key password: one line of text (docs/dicomnode.md)."
    try:
        text = (secrets / name / "password").read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _missing(
            faults, f"The secret {name} has no password that can be read{secret_place(secrets / name)}.", cure
        ) from error
    if not text or not text.isprintable():
        raise _missing(faults, f"The secret {name} has a password that is empty or no single line of text.", cure)
    if len(text) < _LEAST:
        told = f"The secret {name} has a password of fewer than {_LEAST} characters."
        raise _missing(faults, told, "Take a long random one (openssl rand -base64 24): the archive goes to others.")
    return text


def _missing(faults: FolderFaults, message: str, cure: str) -> TransferFault:
    return faults.fault(FaultCode.SECRET_MISSING, message, cure, None)
