"""What a DicomNode's `folder.archive` says, or a job's `destination.archive`: files go into encrypted archives."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from adit.model.identifiers import Name
from adit.model.resource import Strict

PASSWORD_KEYS: Final = ("password",)
"""The key of a Secret with an archive's password."""


class ArchiveFormat(StrEnum):
    """How an archive is made, and who can read it."""

    ZIP = "Zip"  # AES-256 by WinZip's AE-2; names and sizes of members can be read without the password
    SEVEN_ZIP = "SevenZip"  # AES-256, the list of members included


class Archive(Strict):
    """One encrypted archive for each study, instead of its files.

    The secret holds `password`: a projected Secret in a pod, a folder `<secrets>/<secretName>/` on one machine.
    """

    format: ArchiveFormat = Field(
        description="Zip is the faster and most widely read; SevenZip hides the members' names too."
    )
    secret_name: Name = Field(description="Where the password is: a Secret's name.")
