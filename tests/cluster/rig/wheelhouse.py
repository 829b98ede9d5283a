"""Downloads every wheel that our images need, chosen for the base image's Python rather than the host's.

Called by images.sh: wheelhouse.py FOLDER PYTHON_FULL_VERSION GLIBC LOCK[:NAME]... (NAME: only that one). The
builds then need no network and no package index, and no index's address can end up in an image.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement


def _wanted(lock: str, environment: dict[str, str]) -> dict[str, str]:
    """The lock's lines for that environment, without markers, by requirement."""
    path, _, only = lock.partition(":")
    found = {}
    for line in Path(path).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        head, *hashes = line.split("--hash=")
        requirement = Requirement(head.strip())
        if only and requirement.name != only:
            continue
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pin = f"{requirement.name}{requirement.specifier}"
            found[pin] = " ".join([pin, *(f"--hash={one.strip()}" for one in hashes)])
    return found


def main(folder: Path, python: str, glibc: int, locks: list[str]) -> None:
    machine = platform.machine()
    minor = ".".join(python.split(".")[:2])
    environment = {
        "python_full_version": python,
        "python_version": minor,
        "sys_platform": "linux",
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    wanted: dict[str, str] = {}
    for lock in locks:
        wanted |= _wanted(lock, environment)
    platforms = [f"--platform=manylinux_2_{level}_{machine}" for level in range(glibc, 4, -1)]
    platforms += [f"--platform=manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "wanted.txt")
        requirements.write_text("\n".join(wanted.values()) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", f"--python-version={minor}", "--implementation=cp", *platforms]
        command += ["--require-hashes", f"--dest={folder}", f"--requirement={requirements}"]
        subprocess.run(command, check=True)
    print(f"{len(wanted)} wheels")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
