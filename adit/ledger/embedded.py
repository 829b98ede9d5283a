"""A Postgres of one's own in a data folder, for one machine without a server. Called by the command line.

Processes share it by locks (flock) on the folder: whoever comes first starts it, whoever leaves last
stops it, and a lock vanishes with its process however that died; `postgres_guard` then stops it.

Only this operating system user gets in: the server listens on a Unix socket in a folder of mode 0700
with a random name, never on a port, and asks the kernel who calls (peer authentication). So several
users of one host neither collide nor reach each other's data, and there is no password to be leaked.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from adit.ledger.postgres_binaries import EmbeddedPostgresError
from adit.ledger.postgres_server import OWNER, RECEIVER, WORKER, PostgresServer

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]


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
        self._server = PostgresServer(self.data, fsync=fsync)
        self._presence: IO[str] | None = None

    @property
    def url(self) -> str:
        """The owner's database URL; known while entered."""
        return self._server.url(OWNER)

    @property
    def worker_url(self) -> str:
        """The same database for a worker: its role is a member of adit_worker and nothing else."""
        return self._server.url(WORKER)

    @property
    def receiver_url(self) -> str:
        """The same for a receiver: its role is a member of adit_receiver and nothing else."""
        return self._server.url(RECEIVER)

    def __enter__(self) -> Self:
        self._prepare_folder()
        with exclusively(self.data):
            presence = (self.data / "users.lock").open("r+")
            fcntl.flock(presence, fcntl.LOCK_SH)
            try:
                self._post_guard()  # first, so that it is there wherever we die
                self._server.ensure_running()
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
            self._server.ensure_running()

    def stop_if_unused(self) -> bool:
        """Stop the server unless someone uses it; only under `exclusively`. True if nobody does."""
        with (self.data / "users.lock").open("r+") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._server.stop()
            return True

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
