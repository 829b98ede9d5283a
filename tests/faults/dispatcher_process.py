"""A real dispatcher as a process, with a hook that kills it (SIGKILL) at a chosen write or launch.

Started by `transfer_folders`, with its orders on standard input. Crash moments: `before-commit:K`,
`after-commit:K` (the K-th transaction that wrote something), `after-launch:K`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from adit.dispatch.dispatcher import Dispatcher
from adit.dispatch.process_launcher import ProcessLauncher
from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit.ledger.records import Claim
from tests.faults.transfer_folders import SETTINGS

_WRITES = ("INSERT", "UPDATE", "DELETE")


class CrashHook:
    """Counts the moments of each kind, and dies at the one that was ordered."""

    def __init__(self, order: str) -> None:
        self._kind, _, number = order.partition(":")
        self._left = int(number or 0)

    def moment(self, kind: str) -> None:
        if kind == self._kind:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, source: Engine) -> None:
        """Dies around the commits of transactions that changed a row; the others leave no trace anyway."""
        wrote: set[Any] = set()
        committed: set[Any] = set()

        def on_statement(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if statement.lstrip().upper().startswith(_WRITES) and cursor.rowcount:
                wrote.add(connection.connection.dbapi_connection)

        def before_statement(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
            if statement == "COMMIT" and connection.connection.dbapi_connection in wrote:
                self.moment("before-commit")
                committed.add(connection.connection.dbapi_connection)

        def on_checkin(dbapi_connection: Any, record: Any) -> None:
            wrote.discard(dbapi_connection)
            if dbapi_connection in committed:
                committed.discard(dbapi_connection)
                self.moment("after-commit")

        event.listen(source, "after_cursor_execute", on_statement)
        event.listen(source, "before_cursor_execute", before_statement)
        event.listen(source, "checkin", on_checkin)  # the first thing after it


class CrashingLauncher(ProcessLauncher):
    hook: CrashHook

    def launch(self, claim: Claim) -> None:
        super().launch(claim)
        self.hook.moment("after-launch")


def main() -> None:
    order = json.load(sys.stdin)
    hook = CrashHook(order["crash"])
    source = engine(order["ledger"])
    hook.watch(source)
    ledger = Ledger(source)
    wake = threading.Event()
    tmp = Path(order["tmp"])
    launcher = CrashingLauncher(order["worker"], spool=tmp / "spool", logs=tmp / "logs", on_exit=wake.set)
    launcher.hook = hook

    def ended() -> bool:
        record = ledger.job(("default", order["job"]))
        return record is not None and record.ended_at is not None

    Dispatcher(
        ledger,
        launcher,
        clock=lambda: datetime.now(UTC),
        random=random.random,
        monotonic=time.monotonic,
        settings=SETTINGS,
    ).run(ended, wake)
    source.dispose()


if __name__ == "__main__":
    main()
