"""A small process beside the embedded server: stops it when its last user was killed without a goodbye.

Started by `embedded` with the data folder as its only argument; ends together with the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import time
from pathlib import Path
from typing import IO, Final

from adit.ledger.embedded import EmbeddedPostgres, exclusively

PATROL_SECONDS: Final = 1.0


def main(data: Path) -> None:
    with contextlib.suppress(FileNotFoundError), (data / "guard.lock").open("r+") as guard:
        server = EmbeddedPostgres(data)
        unused = not _on_duty(guard)
        while not unused:
            time.sleep(PATROL_SECONDS)
            with exclusively(data):
                unused = server.stop_if_unused()


def _on_duty(guard: IO[str]) -> bool:
    """True when no other guard is on duty. Tried again, as those who enter look at the lock for a moment."""
    for _ in range(10):
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
