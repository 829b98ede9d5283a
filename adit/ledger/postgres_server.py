"""The embedded server's cluster and processes: made, started, recognised, stopped.

Used by `embedded`, which lets one process at a time do so.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

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
from adit.ledger.socket_folder import SOCKET, SocketFolder

DATABASE: Final = "adit"
OWNER: Final = "adit"
WORKER: Final = "adit_embedded_worker"
RECEIVER: Final = "adit_embedded_receiver"
_GROUPS: Final = {WORKER: "adit_worker", RECEIVER: "adit_receiver"}
_START_SECONDS: Final = 120  # crash recovery included
_STOP_SECONDS: Final = 30


class PostgresServer:
    """The server of one data folder. Nothing here is safe for two at once."""

    def __init__(self, data: Path, *, fsync: bool) -> None:
        self.data = data
        self._fsync = fsync
        self._cluster = data / "cluster"
        self._log = self._cluster / "server.log"
        self._user: ServerUser = server_user()
        self._socket = SocketFolder(data, self._user)

    def url(self, role: str) -> str:
        """Raises EmbeddedPostgresError unless it was started."""
        folder = self._socket.find()
        if folder is None:
            raise EmbeddedPostgresError(f"the embedded Postgres in {self.data} is not running; enter it first")
        return f"postgresql+psycopg://{role}@/{DATABASE}?host={folder}"

    def ensure_running(self) -> None:
        """Whatever a crash left: no cluster, no server, a server without our database."""
        if not self._answers():
            if self._postmaster() is not None:  # alive, but its socket was swept away or it hangs
                self.stop()
            if not self._cluster.exists():
                self._make_cluster()
            self._start()
        self._make_database()

    def stop(self) -> None:
        """End it if it runs, by force if it takes too long."""
        if self._postmaster() is not None:
            for mode in ("fast", "immediate"):
                done = self._pg_ctl("stop", "-w", "-s", "-t", str(_STOP_SECONDS), "-m", mode)
                if done.returncode == 0 or self._postmaster() is None:
                    break
        if self._postmaster() is None:
            self._socket.remove()

    # --- the cluster ---

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

    # --- the processes ---

    def _answers(self) -> bool:
        folder = self._socket.find()
        if folder is None:
            return False
        deadline = time.monotonic() + _START_SECONDS
        while True:
            answer = pq.PGconn.ping(f"host={folder} dbname=postgres user={OWNER} connect_timeout=5".encode())
            if answer != pq.Ping.REJECT or time.monotonic() > deadline:  # REJECT: starting up or shutting down
                return answer == pq.Ping.OK
            time.sleep(0.05)

    def _start(self) -> None:
        folder = self._socket.find() or self._socket.make()
        self._clear_stale_locks(folder)
        client = pwd.getpwuid(os.geteuid()).pw_name
        self._write("pg_hba.conf", "local all all peer map=adit\n")
        self._write("pg_ident.conf", "".join(f'adit "{client}" {role}\n' for role in (OWNER, *_GROUPS)))
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "max_connections": "200",  # each worker has one
            "timezone": "UTC",
            "jit": "off",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "max_parallel_workers_per_gather": "0",  # containers give little shared memory
            "fsync": "on" if self._fsync else "off",
            "log_error_verbosity": "terse",  # without the row that failed: it names a patient
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
        (folder / f"{SOCKET}.lock").unlink(missing_ok=True)

    def _make_database(self) -> None:
        folder = self._socket.find()
        with psycopg.connect(f"host={folder} dbname=postgres user={OWNER}", autocommit=True) as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            for login, group in _GROUPS.items():
                if group not in roles:
                    connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
                if login not in roles:
                    made = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
                    connection.execute(made.format(sql.Identifier(login), sql.Identifier(group)))
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
