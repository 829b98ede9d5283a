"""The dispatcher killed at every write it makes, and around every launch (a sample of them in `make test`); another
one finishes the job.

Nothing is lost, nothing arrives twice, nothing is done twice, and the end is that of an undisturbed run.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from adit.ledger.connection import engine, transaction
from adit.ledger.ledger import Ledger
from adit.ledger.tables import attempt
from tests.faults.transfer_folders import FolderTransfer
from tests.postgres import DatabaseServer
from tests.sample import Sample
from tests.samples import Study, instance

STUDIES = tuple(Study(tuple(instance(f"crash-{study}", number=number) for number in (1, 2))) for study in range(2))


@pytest.fixture
def transfer(ledger: Ledger, ledger_url: str, worker_url: str, tmp_path: Path) -> FolderTransfer:
    return FolderTransfer(ledger, ledger_url, worker_url, tmp_path, STUDIES)


@contextmanager
def own_world(server: DatabaseServer, folder: Path) -> Iterator[FolderTransfer]:
    """A transfer with a database of its own, which no other's dispatcher sees."""
    folder.mkdir()
    database = server.database()
    source = engine(server.url(database))
    yield FolderTransfer(Ledger(source), server.url(database), server.url(database, worker=True), folder, STUDIES)
    source.dispose()
    server.drop(database)


def killed_at_each(transfer: FolderTransfer, kind: str, numbers: Iterable[int]) -> int:
    """Runs the job anew with a dispatcher that dies at a moment of a kind: the first, the second, the third ...

    Returns how often it died: the first run that survives, for there are not so many moments, ends it.
    """
    deaths = 0
    for number in numbers:
        run = replace(transfer, name=f"{kind}-{number}")
        run.apply()
        with run.dispatcher_process(f"{kind}:{number}") as dispatcher:
            returncode = dispatcher.wait(timeout=60)
        if returncode == 0:
            run.is_complete()
            break
        assert returncode == -signal.SIGKILL
        run.dispatch_here()
        run.is_complete()
        # At most the attempt that was claimed and never launched is repeated.
        assert max(run.attempts()) <= 2
        deaths += 1
    return deaths


MOMENTS = {"before-commit": 5, "after-commit": 5, "after-launch": len(STUDIES)}
"""At least so many: expanded, claimed, settled twice, closed."""


def test_killed_at_every_write_and_after_every_launch(
    database_server: DatabaseServer, tmp_path: Path, sample: Sample
) -> None:
    """The three enumerations run side by side: most of their time is waiting for processes and leases.

    Before the first launch is after the claim's commit, before the second is after the first.
    """
    known = [(kind, number) for kind, count in MOMENTS.items() for number in range(1, count + 1)]
    drawn = sample(known, 4)

    def deaths(kind: str) -> int:
        numbers = itertools.count(1) if drawn == known else [number for each, number in drawn if each == kind]
        with own_world(database_server, tmp_path / kind) as transfer:
            return killed_at_each(transfer, kind, numbers)

    with ThreadPoolExecutor(max_workers=3) as threads:
        died = dict(zip(MOMENTS, threads.map(deaths, MOMENTS), strict=True))
    if drawn == known:
        assert died["after-launch"] == MOMENTS["after-launch"]
        assert all(died[kind] >= count for kind, count in MOMENTS.items())
    else:
        assert sum(died.values()) == len(drawn)


def test_two_dispatchers_at_once_share_the_work_and_do_nothing_twice(transfer: FolderTransfer, ledger_url: str) -> None:
    many = tuple(Study((instance(f"two-{number}"),)) for number in range(6))
    both = replace(transfer, studies=many, limits={"tasks": 2, "associations": 2})
    both.apply()
    held = []
    source = engine(ledger_url)
    with both.dispatcher_process() as first, both.dispatcher_process() as second:
        while not both.ended():
            held.append(open_attempts(source))
        assert first.wait(timeout=90) == 0
        assert second.wait(timeout=90) == 0
    source.dispose()
    both.is_complete()
    assert both.attempts() == [1] * len(many)
    assert max(held) == 2


def open_attempts(source: Engine) -> int:
    """How many attempts hold a slot of their nodes, at one instant."""
    with transaction(source) as connection:
        unsettled = select(func.count()).select_from(attempt).where(attempt.c.settled_at.is_(None))
        return connection.execute(unsettled).scalar_one()
