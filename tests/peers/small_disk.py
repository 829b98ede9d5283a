"""A file system that is full soon, for faults that no mock can show. It needs no root, and no test is skipped without.

It is mounted in a mount namespace of its own, which a small process holds open; everybody else gets to
it through that process's /proc/PID/root. Without root the process has a user namespace, too, in which
it may mount (user_namespaces(7)).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

# The options of the mount are not read back: in a user namespace they name users that are unknown there.
_REMOUNT = ("mount", "--options-mode", "ignore", "-o")


class SmallDisk:
    """A tmpfs of `size` bytes, mounted while it is entered; `unmount` takes it away earlier."""

    def __init__(self, tmp: Path, size: int) -> None:
        self._beneath = tempfile.mkdtemp(prefix="disk-", dir=tmp)
        self._size = size
        self._holder: subprocess.Popen[bytes] | None = None
        self._enter: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is seen from outside of its namespace."""
        assert self._holder is not None, "this disk is not mounted"
        return Path(f"/proc/{self._holder.pid}/root{self._beneath}")

    def mount(self) -> None:
        mount = f'mount -t tmpfs -o size={self._size} adit-test "$0" && echo mounted && exec cat'
        said = b""
        for namespaces in _ways():
            command = ["unshare", *namespaces, "sh", "-c", mount, self._beneath]
            holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
            )
            assert holder.stdout is not None
            if (line := holder.stdout.readline()) == b"mounted\n":
                self._holder = holder
                which = ["--user"] if "--map-root-user" in namespaces else []
                self._enter = ("nsenter", f"--target={holder.pid}", *which, "--mount", "--preserve-credentials")
                return
            said += line
            _end(holder)
        raise AssertionError(
            "A small disk cannot be mounted here, which the tests of full disks need. Run them as root, or allow "
            "user namespaces: sysctl kernel.unprivileged_userns_clone=1 (on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container: --privileged). "
            f"Said was: {said.decode(errors='replace')}"
        )

    def grow(self, size: int) -> None:
        self._run(*_REMOUNT, f"remount,size={size}", self._beneath)

    def make_read_only(self) -> None:
        self._run(*_REMOUNT, "remount,ro", self._beneath)

    def unmount(self) -> None:
        """What is beneath it can be seen at `path` then."""
        self._run("umount", "--lazy", self._beneath)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._holder is not None:
            _end(self._holder)  # the mount goes with its namespace

    def _run(self, *command: str) -> None:
        subprocess.run([*self._enter, *command], check=True)


def _ways() -> list[tuple[str, ...]]:
    """Root may mount right away, except in some containers."""
    own_user = ("--map-root-user", "--mount")
    return [("--mount",), own_user] if os.geteuid() == 0 else [own_user]


def _end(holder: subprocess.Popen[bytes]) -> None:
    holder.communicate()
