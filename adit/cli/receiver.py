"""The receiver beside `adit up` and `adit run`: `python -m adit_receiver` as a child process, on the same ledger.

Where a PACS sends to when it is asked by C-MOVE. Its own settings are ADIT_RECEIVER_* in our environment
(docs/receiver.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from adit.cli.child_process import ChildProcess, listening_socket, shown
from adit.cli.session import Session

_ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - a receiver is there to be called by others
_DRAIN_SECONDS: Final = 15.0  # unless ADIT_RECEIVER_DRAIN_SECONDS says otherwise
_GRACE_SECONDS: Final = 25.0  # the longest, whatever that says


@contextmanager
def receiving(
    session: Session, receive: str | None, said: Callable[[str], None], *, log: Path | None = None
) -> Iterator[None]:
    """Runs the receiver while the block runs, if `receive` ([HOST:]PORT) asks for it; starts it again if it dies.

    `log` takes what it logs; our standard error otherwise. Ends the command when the address cannot be had.
    """
    if receive is None:
        yield
        return
    with ExitStack() as stack:
        errors = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            errors = stack.enter_context(log.open("ab"))
        listening = stack.enter_context(listening_socket(receive, "--receive", host=_ANYWHERE))
        environment = {"ADIT_RECEIVER_DRAIN_SECONDS": str(_DRAIN_SECONDS)} | os.environ
        environment |= {
            "ADIT_RECEIVER_DATABASE_URL": session.receiver_url,
            "ADIT_RECEIVER_LISTEN_FD": str(listening.fileno()),
            "ADIT_RECEIVER_ENDS_WITH_PARENT": "true",
        }
        child = ChildProcess(
            "The receiver", "adit_receiver", environment, listening, said, errors=errors, grace=_GRACE_SECONDS
        )
        said(f"Receiver on {shown(listening)}.")
        try:
            yield
        finally:
            child.end()
