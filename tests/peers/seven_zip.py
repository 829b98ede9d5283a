"""7-Zip's own program, which opens both formats of our archives as a user's would."""

from __future__ import annotations

import subprocess
from pathlib import Path


def unpacked(archive: Path, password: str, into: Path) -> dict[str, bytes]:
    """The members by their names, as the program writes them to the empty folder `into`."""
    done = _run("x", archive, password, f"-o{into}")
    assert done.returncode == 0, done.stdout
    return {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}


def opens(archive: Path, password: str) -> bool:
    """Whether all members can be read with it."""
    return _run("t", archive, password).returncode == 0


def listing(archive: Path) -> str:
    """What one sees without the password."""
    return _run("l", archive, "").stdout


def _run(what: str, archive: Path, password: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["7z", what, "-y", f"-p{password}", *more, str(archive)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
