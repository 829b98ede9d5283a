"""The private folder in which the embedded server puts its Unix socket. Used by `postgres_server` only."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

from adit.ledger.postgres_binaries import EmbeddedPostgresError, ServerUser

SOCKET: Final = ".s.PGSQL.5432"
_LONGEST_PATH: Final = 103  # sun_path: 104 bytes with its NUL on macOS and BSD, 108 on Linux


class SocketFolder:
    """A short path for a data folder of any path: its name is random, and written down in the data folder."""

    def __init__(self, data: Path, user: ServerUser) -> None:
        self._record = data / "socket.json"
        self._user = user

    def find(self) -> Path | None:
        """The folder of the last start, if it is still ours and closed to others."""
        try:
            folder = Path(json.loads(self._record.read_text())["folder"])
            found = folder.lstat()
        except (OSError, ValueError, KeyError):
            return None
        private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        return folder if private and found.st_uid == self._user.uid else None

    def make(self) -> Path:
        """A new folder whose name nobody can guess and so take before us, short enough for a socket's address."""
        for place in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 - mkdtemp is safe there
            closed = self._user.foreign and not all(
                folder.stat().st_mode & stat.S_IXOTH for folder in (Path(place), *Path(place).parents)
            )
            if closed or len(f"{place}/adit-12345678/{SOCKET}") > _LONGEST_PATH:
                continue
            folder = Path(tempfile.mkdtemp(prefix="adit-", dir=place))
            if self._user.foreign:
                os.chown(folder, self._user.uid, self._user.gid)
            self._record.write_text(json.dumps({"folder": str(folder)}))
            return folder
        raise EmbeddedPostgresError("no temporary folder has a path short enough for a socket; set TMPDIR to /tmp")

    def remove(self) -> None:
        folder = self.find()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            self._record.unlink(missing_ok=True)
