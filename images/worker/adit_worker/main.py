"""One attempt from the environment's word to the exit code. Started by a launcher, as a process or in a pod.

Reads ADIT_ATTEMPT, ADIT_ATTEMPT_TOKEN and ADIT_DATABASE_URL, and perhaps ADIT_SECRETS and ADIT_SPOOL
(folders). Nothing secret stands in the command line, nothing about patients in the log.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from adit.dicom.node import Node
from adit.ledger.attempt_ledger import AttemptLedger, Fenced, LedgerUnavailable
from adit.ledger.connection import LedgerError
from adit.model import process_reference
from adit.model.assignment import Assignment, Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.outcome import EXIT_CODES, EXIT_CONTRACT_MISMATCH, Outcome
from adit.transfer.attempt import run_attempt
from adit_worker import log
from adit_worker.stop import stop, take_signals

BEGIN_PATIENCE: Final = 60.0
"""Seconds that a ledger may be away when the worker starts."""

_PAUSE: Final = 0.5
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Order:
    """What the launcher told this process."""

    attempt_id: int
    token: UUID
    database_url: str
    secrets: Path | None
    spool: Path | None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Order:
        """Raises ValueError naming the variable that is missing or wrong, never its value."""
        names = ("ADIT_ATTEMPT", "ADIT_ATTEMPT_TOKEN", "ADIT_DATABASE_URL")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise ValueError(f"{', '.join(missing)} must be set; a worker is started by a launcher, not by hand")
        if not environment["ADIT_ATTEMPT"].isdecimal():
            raise ValueError("ADIT_ATTEMPT must be an attempt's number")
        try:
            token = UUID(environment["ADIT_ATTEMPT_TOKEN"])
        except ValueError:
            raise ValueError("ADIT_ATTEMPT_TOKEN must be a UUID") from None
        secrets, spool = environment.get("ADIT_SECRETS"), environment.get("ADIT_SPOOL")
        return Order(
            attempt_id=int(environment["ADIT_ATTEMPT"]),
            token=token,
            database_url=environment["ADIT_DATABASE_URL"],
            secrets=Path(secrets) if secrets else None,
            spool=Path(spool) if spool else None,
        )


def main() -> int:
    """The exit code, from EXIT_CODES or EXIT_CONTRACT_MISMATCH."""
    take_signals()
    try:
        order = Order.read(os.environ)
    except ValueError as error:
        log.write("error", "contract mismatch", reason=str(error))
        return EXIT_CONTRACT_MISMATCH
    return work(order, stop)


def work(order: Order, stop: threading.Event) -> int:
    """Begins the attempt, runs it, and writes its report."""
    ledger = AttemptLedger(order.database_url, order.attempt_id, order.token)
    try:
        assignment = patiently(lambda: ledger.begin(own_reference(), _now()), BEGIN_PATIENCE, give_up=stop.is_set)
        if assignment is None:
            log.write("error", "ledger unavailable", attempt=order.attempt_id)
            return EXIT_CODES[Outcome.TRANSIENT_FAULT]
        report = run_attempt(ledger, _node_opener(order, assignment), assignment, clock=_now, stop=stop)
        _log_report(assignment, report)
        # Fenced, so that trying longer than the lease can do no harm.
        written = patiently(lambda: _finished(ledger, report), float(assignment.lease_seconds))
        if not written:
            log.write("error", "report not written", attempt=order.attempt_id)
            return EXIT_CODES[Outcome.TRANSIENT_FAULT]
        return EXIT_CODES[report.outcome]
    except Fenced:
        log.write("warning", "fenced", attempt=order.attempt_id)
        return EXIT_CONTRACT_MISMATCH
    except LedgerError as error:  # of `begin` or `finish`; those in between are in the report
        log.write("error", "ledger refused", attempt=order.attempt_id, reason=str(error))
        return EXIT_CODES[Outcome.BUG]
    finally:
        ledger.close()


def patiently(
    ask: Callable[[], _Answer], seconds: float, *, give_up: Callable[[], bool] = lambda: False
) -> _Answer | None:
    """What the ledger answers, asked again while it is away, for so many seconds; then None."""
    until = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except LedgerUnavailable:
            if time.monotonic() >= until or give_up():
                return None
            time.sleep(_PAUSE)


def own_reference() -> str:
    """This process, as `adit.model.process_reference` names it."""
    ticks = process_reference.start_ticks(Path("/proc/self/stat").read_text())
    return process_reference.make(socket.gethostname(), os.getpid(), ticks)


def _node_opener(order: Order, assignment: Assignment) -> Callable[[DicomNode, Share], Node]:
    from adit.dicom.folder import JobFolder
    from adit.dicom.opening import open_node

    job = JobFolder(job_name=assignment.job_name, created_on=assignment.job_created_on, owner=assignment.owner)
    return lambda node, share: open_node(node, share, secrets=order.secrets, spool=order.spool, job=job)


def _finished(ledger: AttemptLedger, report: Report) -> bool:
    ledger.finish(report, _now())
    return True


def _log_report(assignment: Assignment, report: Report) -> None:
    """Codes and counts only: messages may hold UIDs, which stay in the ledger."""
    log.write(
        "info",
        "ended",
        attempt=assignment.attempt_id,
        task=assignment.task_id,
        number=assignment.number,
        outcome=report.outcome,
        faults=[fault.code for fault in report.faults],
        warnings=[fault.code for fault in report.warnings],
        **report.progress.model_dump(),
    )


def _now() -> datetime:
    return datetime.now(UTC)
