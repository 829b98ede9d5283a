"""The key of a project, from the file that a Secret or its owner keeps it in. Read by `adit deid` and by transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adit.deid.identity import Identity

_LONGEST: Final = 4096


def identity_from(file: Path, project: str) -> Identity:
    """The file's bytes as they are, so that the same file gives the same names everywhere.

    Raises OSError, and WeakKeyError when there are too few of them.
    """
    with file.open("rb") as reader:
        return Identity(reader.read(_LONGEST), project)
