"""The dispatcher with real workers: it stops when asked, cancels what runs, and survives a killed worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from adit.dispatch.dispatcher import DispatchSettings
from adit.dispatch.sweep import Patience
from adit.ledger.ledger import Ledger
from adit.ledger.records import RunningAttempt
from adit.model.process_reference import parse
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import Cancel
from tests.faults.transfer_folders import FolderTransfer, now, wait_for
from tests.postgres import DatabaseServer
from tests.samples import Study, ct_study

INSTANCES = 12
# 32 KiB an instance; at this rate, of which a lone task gets five eighths, a study takes some ten seconds.
SLOW: dict[str, object] = {"tasks": 4, "associations": 8, "bytesPerSecond": "64Ki"}
# Whose workers' leases outlast every test: what is noticed is noticed otherwise.
PATIENT = DispatchSettings(patience=Patience(lease=600, stop=10, deadline=10), poll_seconds=0.2)


@pytest.fixture
def slow(ledger: Ledger, ledger_url: str, worker_url: str, tmp_path: Path) -> FolderTransfer:
    studies: tuple[Study, ...] = (ct_study(INSTANCES, seed="slow", size=128),)
    return FolderTransfer(ledger, ledger_url, worker_url, tmp_path, studies, limits=SLOW, settings=PATIENT)


class Background:
    """A dispatcher that runs in a thread until `end`."""

    def __init__(self, transfer: FolderTransfer) -> None:
        self.wake = threading.Event()
        self.dispatcher = transfer.dispatcher_here(self.wake)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self.dispatcher.run, args=(self._over.is_set, self.wake))
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self.wake.set()
        self._thread.join(timeout=90)
        assert not self._thread.is_alive()


@pytest.fixture
def background(slow: FolderTransfer) -> Iterator[Background]:
    slow.apply()
    running = Background(slow)
    yield running
    running.end()


def at_work(transfer: FolderTransfer) -> RunningAttempt:
    """The running attempt, once some of its instances are stored and others are not."""
    wait_for(lambda: 0 < transfer.ledger.summary(transfer.job_id).stored < INSTANCES)
    [attempt] = transfer.ledger.running()
    return attempt


def pid_of(attempt: RunningAttempt) -> int:
    assert attempt.reference is not None
    reference = parse(attempt.reference)
    assert reference is not None
    return reference.pid


def unlimited(transfer: FolderTransfer) -> FolderTransfer:
    """The same transfer, from now on as fast as it can be."""
    quick = replace(transfer, limits={"tasks": 4, "associations": 8})
    quick.apply_nodes()
    return quick


def test_a_shutdown_stops_the_workers_and_leaves_the_rest_for_later(
    slow: FolderTransfer, background: Background
) -> None:
    attempt = at_work(slow)
    background.end()
    began = time.monotonic()
    background.dispatcher.shutdown(120, background.wake)
    assert time.monotonic() - began < 60
    assert not Path(f"/proc/{pid_of(attempt)}").exists()
    assert slow.ledger.running() == []
    [task] = slow.ledger.tasks(slow.job_id)
    assert task.state is TaskState.PENDING
    stored = task.stored
    assert 0 < stored < INSTANCES
    untouched = {path: path.stat().st_mtime_ns for path in slow.destination.rglob("*.dcm")}

    quick = unlimited(slow)
    quick.dispatch_here()
    quick.is_complete()
    assert all(path.stat().st_mtime_ns == written for path, written in untouched.items())


def test_a_shutdown_stops_the_workers_also_while_the_ledger_is_away(
    slow: FolderTransfer, background: Background, database_server: DatabaseServer, database: str
) -> None:
    pid = pid_of(at_work(slow))
    name = sql.Identifier(database)
    database_server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
    end = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
    database_server.execute(end.format(sql.Literal(database)))
    background.end()
    background.dispatcher.shutdown(2, background.wake)
    assert not Path(f"/proc/{pid}").exists()
    database_server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    quick = unlimited(slow)
    quick.dispatch_here()
    quick.is_complete()


def test_a_worker_that_a_shutdown_ends_before_it_has_begun_is_interrupted_and_not_lost(slow: FolderTransfer) -> None:
    """SIGTERM arrives when Python has hardly started."""
    slow.apply()
    wake = threading.Event()
    dispatcher = slow.dispatcher_here(wake)
    while not slow.ledger.running():
        dispatcher.step()
    dispatcher.shutdown(20, wake)
    assert slow.ledger.running() == []
    [task] = slow.ledger.tasks(slow.job_id)
    assert task.state is TaskState.PENDING
    codes = {event.code for event in slow.ledger.events(task.id)}
    assert "Interrupted" in codes
    assert "Lost" not in codes


def test_terminate_stops_what_runs_and_ends_the_job(slow: FolderTransfer, background: Background) -> None:
    attempt = at_work(slow)
    record = slow.ledger.job(("default", slow.name))
    assert record is not None
    spec = record.job.spec.model_copy(update={"cancel": Cancel.TERMINATE})
    slow.ledger.apply_job(record.job.model_copy(update={"spec": spec}), now())
    wait_for(slow.ended)
    assert slow.ledger.summary(slow.job_id).state is JobState.CANCELED
    wait_for(lambda: not Path(f"/proc/{pid_of(attempt)}").exists())
    assert 0 < sum(slow.delivered().values()) < INSTANCES


def test_a_killed_worker_is_noticed_at_once_and_its_work_is_continued(
    slow: FolderTransfer, background: Background
) -> None:
    attempt = at_work(slow)
    quick = unlimited(slow)
    os.kill(pid_of(attempt), signal.SIGKILL)
    wait_for(lambda: attempt.attempt_id not in {one.attempt_id for one in slow.ledger.running()})  # before its lease
    wait_for(slow.ended)
    quick.is_complete()
    [task] = slow.ledger.tasks(slow.job_id)
    codes = [event.code for event in slow.ledger.events(task.id)]
    assert "Lost" in codes
    assert task.attempts == 2
