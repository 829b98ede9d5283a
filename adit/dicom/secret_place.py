"""Where a Secret was looked for, in the words of SecretMissing. Called by nodes, transfers and `adit run`."""

from __future__ import annotations

import os
from pathlib import Path


def secret_place(secrets: Path, name: str) -> str:
    """To follow "the secret NAME lacks PART": the folder that was looked at, and whether it is there.

    Empty in a pod: who makes the Secret there knows no path.
    """
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return ""
    folder = (secrets / name).absolute()
    return f" in its folder {folder}" if folder.is_dir() else f": there is no folder {folder}"
