"""A Postgres of one's own in a data folder, for one machine without a server. Called by the command line.

Processes share it by locks (flock) on the folder: whoever comes first starts it, whoever leaves last
stops it, and a lock vanishes with its process however that died; `postgres_guard` then stops it.

Only this operating system user gets in: the server listens on a Unix socket in a folder of mode 0700
with a random name, never on a port, and asks the kernel who calls (peer authentication). So several
users of one host neither collide nor reach each other's data, and there is no password to be leaked.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psycopg
from psycopg import pq, sql

from adit.ledger.postgres_binaries import (
    EmbeddedPostgresError,
    ServerUser,
    binaries,
    own_folder,
    run,
    server_user,
)

DATABASE: Final = "adit"
OWNER: Final = "adit"
WORKER: Final = "adit_embedded_worker"
_SOCKET: Final = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH: Final = 103  # sun_path: 104 bytes with its NUL on macOS and BSD, 108 on Linux
_START_SECONDS: Final = 120  # crash recovery included
_STOP_SECONDS: Final = 30


@contextmanager
def exclusively(data: Path) -> Iterator[None]:
    """Nobody else starts, stops, enters or leaves the server of this folder meanwhile.

    Raises FileNotFoundError when the folder, or what was in it, was removed.
    """
    # Never made here: the guard must not put files into a folder that is being removed.
    with (data / "server.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class EmbeddedPostgres:
    """The server of one data folder, held up while at least one such object is entered.

    `fsync=False` risks the data at a power cut (not at kill -9) and is for tests. Raises EmbeddedPostgresError, with
    the cure, when it cannot run here.
    """

    def __init__(self, data: Path, *, fsync: bool = True) -> None:
        self.data = data.absolute()
        self._fsync = fsync
        self._cluster = self.data / "cluster"
        self._log = self._cluster / "server.log"
        self._user: ServerUser = server_user()
        self._presence: IO[str] | None = None

    @property
    def url(self) -> str:
        """The owner's database URL; known while entered."""
        return self._url(OWNER)

    @property
    def worker_url(self) -> str:
        """The same database for a worker: its role is a member of adit_worker and nothing else."""
        return self._url(WORKER)

    def __enter__(self) -> Self:
        self._prepare_folder()
        with exclusively(self.data):
            presence = (self.data / "users.lock").open("r+")
            fcntl.flock(presence, fcntl.LOCK_SH)
            try:
                self._ensure_running()
                self._post_guard()
            except BaseException:
                presence.close()
                self.stop_if_unused()
                raise
            self._presence = presence
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._presence is None:
            return
        with exclusively(self.data):
            self._presence.close()
            self._presence = None
            self.stop_if_unused()

    def revive(self) -> None:
        """Start the server again if it died under its users; the URL stays the same."""
        with exclusively(self.data):
            self._ensure_running()

    def stop_if_unused(self) -> bool:
        """Stop the server unless someone uses it; only under `exclusively`. True if nobody does."""
        with (self.data / "users.lock").open("r+") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._stop()
            return True

    # --- the folder ---

    def _prepare_folder(self) -> None:
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.data.stat().st_uid
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the data folder {self.data} cannot be made ({error.strerror}); choose another one"
            ) from error
        if owner != os.geteuid():
            raise EmbeddedPostgresError(f"the data folder {self.data} belongs to another user; choose one of your own")
        for name in ("server.lock", "users.lock", "guard.lock"):
            (self.data / name).touch(mode=0o600)

    def _make_cluster(self) -> None:
        """initdb into a folder that gets its name when it is complete, so that a crash leaves no half cluster."""
        unfinished = self.data / "cluster.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if self._user.foreign:
            os.chown(unfinished, self._user.uid, self._user.gid)
        command = [str(binaries(self._user) / "initdb"), "-D", own_folder(unfinished, self._user), "-U", OWNER]
        command += ["--auth-local=peer", "--auth-host=reject", "--encoding=UTF8", "--locale=C.UTF-8"]
        command += [] if self._fsync else ["--no-sync"]
        done = run(command, self._user, cwd=unfinished)
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"initdb in {self.data} failed: {_last_line(done.stderr)}")
        unfinished.rename(self._cluster)

    def _write(self, name: str, content: str) -> None:
        """Replace a file in the server user's folder; never through a link that someone put there."""
        fresh = self._cluster / f"{name}.new"
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(content)
            if self._user.foreign:
                os.fchown(file.fileno(), self._user.uid, self._user.gid)
        fresh.replace(self._cluster / name)

    # --- the socket ---

    @property
    def _socket_record(self) -> Path:
        return self.data / "socket.json"

    def _socket_folder(self) -> Path | None:
        """The folder of the last start, if it is still ours and closed to others."""
        try:
            folder = Path(json.loads(self._socket_record.read_text())["folder"])
            found = folder.lstat()
        except (OSError, ValueError, KeyError):
            return None
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        return folder if private and found.st_uid == self._user.uid else None

    def _make_socket_folder(self) -> Path:
        """A new folder whose name nobody can guess and so take before us, short enough for a socket's address."""
        for place in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - mkdtemp is safe there
            closed = self._user.foreign and not all(
                folder.stat().st_mode & stat.S_IXOTH for folder in (Path(place), *Path(place).parents)
            )
            if closed or len(f"{place}/adit-12345678/{_SOCKET}") > _LONGEST_SOCKET_PATH:
                continue
            folder = Path(tempfile.mkdtemp(prefix="adit-", dir=place))
            if self._user.foreign:
                os.chown(folder, self._user.uid, self._user.gid)
            self._socket_record.write_text(json.dumps({"folder": str(folder)}))
            return folder
        raise EmbeddedPostgresError("no temporary folder has a path short enough for a socket; set TMPDIR to /tmp")

    def _url(self, role: str, database: str = DATABASE) -> str:
        folder = self._socket_folder()
        if folder is None:
            raise EmbeddedPostgresError(f"the embedded Postgres in {self.data} is not running; enter it first")
        return f"postgresql+psycopg://{role}@/{database}?host={folder}"

    # --- the server ---

    def _ensure_running(self) -> None:
        if self._answers():
            return
        if self._postmaster() is not None:  # alive, but its socket was swept away or it hangs
            self._stop()
        if not self._cluster.exists():
            self._make_cluster()
        self._start()
        self._make_database()

    def _answers(self) -> bool:
        folder = self._socket_folder()
        if folder is None:
            return False
        deadline = time.monotonic() + _START_SECONDS
        while True:
            answer = pq.PGconn.ping(f"host={folder} dbname=postgres user={OWNER} connect_timeout=5".encode())
            if answer != pq.Ping.REJECT or time.monotonic() > deadline:  # REJECT: starting up or shutting down
                return answer == pq.Ping.OK
            time.sleep(0.05)

    def _start(self) -> None:
        folder = self._socket_folder() or self._make_socket_folder()
        self._clear_stale_locks(folder)
        client = pwd.getpwuid(os.geteuid()).pw_name
        self._write("pg_hba.conf", "local all all peer map=adit\n")
        self._write("pg_ident.conf", f'adit "{client}" {OWNER}\nadit "{client}" {WORKER}\n')
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "jit": "off",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "max_parallel_workers_per_gather": "0",  # containers give little shared memory
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
        }
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        # A log of the last start only: it would grow for ever.
        self._write("server.log", "")
        done = self._pg_ctl("start", "-w", "-s", "-t", str(_START_SECONDS), "-l", "server.log", "-o", options)
        if done.returncode != 0:
            log = self._log.read_text(errors="replace")
            fatal = "\n".join(line for line in log.splitlines() if " FATAL: " in line or " PANIC: " in line)
            reason = _last_line(fatal) or _last_line(log) or _last_line(done.stderr)
            raise EmbeddedPostgresError(f"the Postgres in {self.data} did not start: {reason}")

    def _stop(self) -> None:
        if self._postmaster() is not None:
            for mode in ("fast", "immediate"):
                done = self._pg_ctl("stop", "-w", "-s", "-t", str(_STOP_SECONDS), "-m", mode)
                if done.returncode == 0 or self._postmaster() is None:
                    break
        folder = self._socket_folder()
        if folder is not None and self._postmaster() is None:
            shutil.rmtree(folder, ignore_errors=True)
            self._socket_record.unlink(missing_ok=True)

    def _pg_ctl(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binaries(self._user) / "pg_ctl"), verb, "-D", own_folder(self._cluster, self._user), *arguments]
        return run(command, self._user, cwd=self._cluster)

    def _postmaster(self) -> int | None:
        """The process of our server, if it lives. A pid in an old file may be anybody's by now."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        if Path("/proc/self/cwd").exists():
            return pid if pid in self._dwellers() else None
        return pid if self._answers() else None

    def _dwellers(self) -> list[int]:
        """Processes whose working directory is the cluster's: the server and its children (Linux only)."""
        home = self._cluster.stat()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    there = (entry / "cwd").stat()
                except OSError:
                    continue  # gone meanwhile, or not ours to look at
                if (there.st_dev, there.st_ino) == (home.st_dev, home.st_ino):
                    found.append(int(entry.name))
        return found

    def _clear_stale_locks(self, folder: Path) -> None:
        """Remove what a killed server left: Postgres refuses to start when the old pid is taken by another process.

        Only when none of its children is left, who might still write.
        """
        if not Path("/proc/self/cwd").exists():
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while self._dwellers():
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"processes of a killed Postgres still run in {self.data}: {self._dwellers()}; end them"
                )
            time.sleep(0.05)
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        (folder / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def _make_database(self) -> None:
        folder = self._socket_folder()
        with psycopg.connect(f"host={folder} dbname=postgres user={OWNER}", autocommit=True) as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            if "adit_worker" not in roles:
                connection.execute("CREATE ROLE adit_worker NOLOGIN")
            if WORKER not in roles:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE adit_worker").format(sql.Identifier(WORKER)))
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _post_guard(self) -> None:
        with (self.data / "guard.lock").open("r+") as guard:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        with subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", sys.executable, "-m", "adit.ledger.postgres_guard", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        ):
            pass  # the shell is gone at once: the guard is not our child and never our zombie


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
