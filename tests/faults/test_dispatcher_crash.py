"""The dispatcher killed at every write it makes, and around every launch; another one finishes the job.

Nothing is lost, nothing arrives twice, nothing is done twice, and the end is that of an undisturbed run.
"""

from __future__ import annotations

import itertools
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from tests.faults.transfer_folders import FolderTransfer
from tests.samples import Study, instance

STUDIES = tuple(Study(tuple(instance(f"crash-{study}", number=number) for number in (1, 2))) for study in range(2))


@pytest.fixture
def transfer(ledger: Ledger, ledger_url: str, worker_url: str, tmp_path: Path) -> FolderTransfer:
    return FolderTransfer(ledger, ledger_url, worker_url, tmp_path, STUDIES)


def killed_at_each(transfer: FolderTransfer, kind: str) -> int:
    """Runs the job anew with a dispatcher that dies at the first, second, third ... moment of a kind.

    Returns how many such moments there were: the first run that survives ends the enumeration.
    """
    for number in itertools.count(1):
        run = replace(transfer, name=f"{kind}-{number}")
        run.apply()
        with run.dispatcher_process(f"{kind}:{number}") as dispatcher:
            returncode = dispatcher.wait(timeout=60)
        if returncode == 0:
            run.is_complete()
            return number - 1
        assert returncode == -signal.SIGKILL
        run.dispatch_here()
        run.is_complete()
        # At most the attempt that was claimed and never launched is repeated.
        assert max(run.attempts()) <= 2
    raise AssertionError


@pytest.mark.parametrize("kind", ["before-commit", "after-commit"])
def test_killed_at_every_write(transfer: FolderTransfer, kind: str) -> None:
    writes = killed_at_each(transfer, kind)
    # At least: expanded, claimed, settled twice, closed.
    assert writes >= 5


def test_killed_after_every_launch(transfer: FolderTransfer) -> None:
    """Before the first launch is after the claim's commit; before the second is after the first."""
    assert killed_at_each(transfer, "after-launch") == len(STUDIES)


def test_two_dispatchers_at_once_share_the_work_and_do_nothing_twice(transfer: FolderTransfer) -> None:
    many = tuple(Study((instance(f"two-{number}"),)) for number in range(6))
    both = replace(transfer, studies=many, limits={"tasks": 2, "associations": 2})
    both.apply()
    with both.dispatcher_process() as first, both.dispatcher_process() as second:
        assert first.wait(timeout=90) == 0
        assert second.wait(timeout=90) == 0
    both.is_complete()
    assert both.attempts() == [1] * len(many)
    assert overlapping(both) <= 2


def overlapping(transfer: FolderTransfer) -> int:
    """The most tasks that held a slot of the node at the same time: from claim to settlement."""
    changes = []
    for task in transfer.ledger.tasks(transfer.job_id):
        events = {event.code: event.at for event in transfer.ledger.events(task.id)}
        changes += [(events["Claimed"], 1), (events["Success"], -1)]
    return max(itertools.accumulate(change for _, change in sorted(changes)))
