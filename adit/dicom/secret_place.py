"""Where a Secret was looked for, in the words of SecretMissing. Called by nodes, transfers and `adit run`."""

from __future__ import annotations

import os
from pathlib import Path

from adit.model.pod import in_pod


def secret_place(folder: Path) -> str:
    """To follow "the secret NAME lacks PART": the folder that was looked at, and whether it is there.

    Empty in a pod: who makes the Secret there knows no path.
    """
    if in_pod(os.environ):
        return ""
    place = folder.absolute()
    return f" in its folder {place}" if place.is_dir() else f": there is no folder {place}"
