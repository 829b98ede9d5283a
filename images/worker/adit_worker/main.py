"""One attempt from the environment's word to the exit code. Started by a launcher, as a process or in a pod.

Reads ADIT_ATTEMPT, ADIT_ATTEMPT_TOKEN and ADIT_DATABASE_URL (or the file of that name in the folder
ADIT_CREDENTIALS), and perhaps ADIT_SECRETS and ADIT_SPOOL (folders), ADIT_RELAY_HOST and ADIT_RELAY_PORT (where
receivers reach us, for C-MOVE), ADIT_ATTEMPT_SECONDS (the longest that the attempt may take, from now),
ADIT_TERMINATION_LOG (a file for the last word) and ADIT_CODECS (a folder of Python packages that decode pixels, where
they are not among the others: `adit.deid.pixels.decoder` knows why). Nothing secret stands in the command line,
nothing about patients in the log.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from adit.dicom.node import Node
from adit.discretion import be_discreet
from adit.ledger.attempt_ledger import AttemptLedger, Fenced, LedgerError, LedgerUnavailable
from adit.model import process_reference
from adit.model.assignment import Assignment, Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.outcome import EXIT_CODES, EXIT_CONTRACT_MISMATCH, Outcome
from adit.transfer.attempt import run_attempt
from adit_worker import last_word, log
from adit_worker.mailboxes import LedgerMailboxes
from adit_worker.stop import stop, take_signals

if TYPE_CHECKING:
    from adit.dicom.payload import Spool

BEGIN_PATIENCE: Final = 60.0
"""Seconds that a ledger may be away when the worker starts."""

_PAUSE: Final = 0.5
_LONGEST: Final = 366 * 86400  # seconds
_LAST_WORD: Final = "ADIT_TERMINATION_LOG"
_LOGIN: Final = "ADIT_DATABASE_URL"
_Answer = TypeVar("_Answer")


class NoLoginError(ValueError):
    """The folder of credentials is there, and the ledger's login is not in it: its Secret is missing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the launcher told this process."""

    attempt_id: int
    token: UUID
    database_url: str
    secrets: Path | None
    spool: Path | None
    counted: bool  # the spool is a volume of its own, whose size somebody watches
    relay_host: str | None
    relay_port: int  # 0 is any
    seconds: int | None
    last_word: Path | None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Order:
        """Raises ValueError naming the variable that is missing or wrong, never its value; NoLoginError is one."""
        credentials = _path(environment, "ADIT_CREDENTIALS")
        names = ("ADIT_ATTEMPT", "ADIT_ATTEMPT_TOKEN", *(() if credentials else (_LOGIN,)))
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise ValueError(f"{', '.join(missing)} must be set; a worker is started by a launcher, not by hand")
        if not environment["ADIT_ATTEMPT"].isdecimal():
            raise ValueError("ADIT_ATTEMPT must be an attempt's number")
        try:
            token = UUID(environment["ADIT_ATTEMPT_TOKEN"])
        except ValueError:
            raise ValueError("ADIT_ATTEMPT_TOKEN must be a UUID") from None
        seconds = environment.get("ADIT_ATTEMPT_SECONDS")
        if seconds and not (seconds.isdecimal() and 0 < int(seconds) <= _LONGEST):
            raise ValueError(f"ADIT_ATTEMPT_SECONDS must be a whole number from 1 to {_LONGEST}")
        return Order(
            attempt_id=int(environment["ADIT_ATTEMPT"]),
            token=token,
            database_url=environment.get(_LOGIN) or _login(credentials),
            secrets=_path(environment, "ADIT_SECRETS"),
            spool=_path(environment, "ADIT_SPOOL"),
            counted=environment.get("ADIT_SPOOL_COUNTED") == "1",
            relay_host=environment.get("ADIT_RELAY_HOST") or None,
            relay_port=_port(environment, "ADIT_RELAY_PORT"),
            seconds=int(seconds) if seconds else None,
            last_word=_path(environment, _LAST_WORD),
        )


def _login(credentials: Path | None) -> str:
    try:
        login = (credentials / _LOGIN).read_text().strip() if credentials else ""
    except (OSError, UnicodeDecodeError):
        login = ""
    if not login:
        raise NoLoginError(f"there is no {_LOGIN} in the folder that ADIT_CREDENTIALS names: its Secret may be missing")
    return login


def _port(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name) or "0"
    if not (value.isdecimal() and int(value) <= 65535):
        raise ValueError(f"{name} must be a TCP port")
    return int(value)


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    return Path(value) if value else None


def main() -> int:
    """The exit code, from EXIT_CODES or EXIT_CONTRACT_MISMATCH."""
    take_signals()
    logging.disable(logging.CRITICAL)  # pydicom's and others': they print what peers send
    be_discreet(partial(log.write, "error"))
    begun = _now()
    try:
        order = Order.read(os.environ)
    except NoLoginError as error:
        log.write("error", "no login", reason=str(error))
        last_word.leave(_path(os.environ, _LAST_WORD), None, ended="no-login")
        return EXIT_CONTRACT_MISMATCH
    except ValueError as error:
        log.write("error", "contract mismatch", reason=str(error))
        last_word.leave(_path(os.environ, _LAST_WORD), None, ended="contract-mismatch")
        return EXIT_CONTRACT_MISMATCH
    return work(order, stop, begun)


def work(order: Order, stop: threading.Event, begun: datetime) -> int:
    """Begins the attempt, runs it, and writes its report."""
    ledger = AttemptLedger(order.database_url, order.attempt_id, order.token)
    until = None if order.seconds is None else begun + timedelta(seconds=order.seconds)
    report = None
    try:
        assignment = patiently(lambda: ledger.begin(own_reference(), _now()), BEGIN_PATIENCE, give_up=stop.is_set)
        if assignment is None:
            log.write("error", "ledger unavailable", attempt=order.attempt_id)
            last_word.leave(order.last_word, order.attempt_id, ended="ledger-unavailable")
            return EXIT_CODES[Outcome.TRANSIENT_FAULT]
        spool = _spool(order, assignment)
        report = run_attempt(
            ledger,
            _node_opener(order, assignment, ledger, spool),
            assignment,
            clock=_now,
            stop=stop,
            until=until,
            secrets=order.secrets,
            spool=spool,
        )
        _log_report(assignment, report)
        # Fenced, so that trying longer than the lease can do no harm.
        written = patiently(lambda: _finished(ledger, report), float(assignment.lease_seconds))
        if not written:
            log.write("error", "report not written", attempt=order.attempt_id)
            last_word.leave(order.last_word, order.attempt_id, ended="report-not-written", report=report)
            return EXIT_CODES[Outcome.TRANSIENT_FAULT]
        last_word.leave(order.last_word, order.attempt_id, report=report)
        return EXIT_CODES[report.outcome]
    except Fenced:
        log.write("warning", "fenced", attempt=order.attempt_id)
        last_word.leave(order.last_word, order.attempt_id, ended="fenced", report=report)
        return EXIT_CONTRACT_MISMATCH
    except LedgerError as error:  # of `begin` or `finish`; those in between are in the report
        log.write("error", "ledger refused", attempt=order.attempt_id, reason=str(error))
        last_word.leave(order.last_word, order.attempt_id, ended="ledger-refused", report=report)
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


def _spool(order: Order, assignment: Assignment) -> Spool:
    """Originals that leave under another name are wiped from it."""
    from adit.dicom.payload import Spool

    return Spool(order.spool, counted=order.counted, wiped=assignment.profile is not None)


def _node_opener(
    order: Order, assignment: Assignment, ledger: AttemptLedger, spool: Spool
) -> Callable[[DicomNode, Share], Node]:
    from adit.dicom.opening import open_node

    job = None
    spec = assignment.destination.spec
    if spec.folder is not None or spec.s3 is not None:
        from adit.dicom.folder import JobFolder  # with pydicom, which peers do without

        job = JobFolder.of(assignment)
    mailboxes = None if order.relay_host is None else LedgerMailboxes(ledger, order.relay_host, order.relay_port, _now)
    return lambda node, share: open_node(node, share, secrets=order.secrets, spool=spool, job=job, mailboxes=mailboxes)


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
