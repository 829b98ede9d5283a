from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from adit.cli.pace import Pace, duration, size
from adit.cli.progress import told
from adit.cli.run import exit_code
from adit.ledger.records import JobRecord, JobSummary
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import TransferJob
from tests.unit.model.specs import JOB, resource

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RECORD = JobRecord(
    id=UUID(int=1),
    job=TransferJob.model_validate(resource("TransferJob", JOB)),
    created_at=NOW,
    expanded_at=NOW,
    ended_at=None,
    refusal=None,
)
BEGINNING = JobSummary(
    record=RECORD,
    state=JobState.IN_PROGRESS,
    message="",
    tasks={TaskState.IN_PROGRESS: 2, TaskState.PENDING: 2},
    expected=100,
    received=0,
    stored=0,
    verified=0,
    bytes_stored=0,
    started_at=NOW,
)


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    pace = Pace()
    assert pace.see(BEGINNING, 0.0).seconds_left is None
    pace.see(replace(BEGINNING, stored=10, bytes_stored=10_000_000), 10.0)
    sight = pace.see(replace(BEGINNING, stored=40, verified=20, bytes_stored=70_000_000), 20.0)
    assert sight.bytes_per_second == pytest.approx(3_500_000)
    # two of four tasks have begun and have 100 instances, so 200 are expected in all: 160 left at 2 a second
    assert sight.seconds_left == pytest.approx(80)
    assert told(sight) == "0/4 tasks · 40/100 instances · 70.0 MB · 3.5 MB/s · about 1:20 left"
    later = pace.see(replace(BEGINNING, stored=40, bytes_stored=70_000_000), 40.0)
    assert (later.bytes_per_second, later.seconds_left) == (0, None)


def test_an_ended_job_has_no_time_left() -> None:
    ended = replace(BEGINNING, tasks={TaskState.SUCCESS: 3, TaskState.FAILURE: 1}, stored=100, verified=100)
    assert told(Pace().see(ended, 5.0)) == "4/4 tasks · 100/100 instances · 0 B"


def test_a_job_without_tasks_yet() -> None:
    assert told(Pace().see(replace(BEGINNING, tasks={}, expected=0), 0.0)) == "0/0 tasks · 0/0 instances · 0 B"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2.5e12, "2.5 TB")]
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (723, "12:03"), (3723, "1:02:03")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([JobState.SUCCESS], 0),
        ([JobState.SUCCESS, JobState.WARNING], 3),
        ([JobState.WARNING, JobState.FAILURE], 1),
        ([JobState.CANCELED], 1),
        ([JobState.IN_PROGRESS], 1),
        ([JobState.SUCCESS, JobState.PENDING], 1),
    ],
)
def test_only_plain_success_is_green(states: list[JobState], code: int) -> None:
    assert exit_code([replace(BEGINNING, state=state) for state in states]) == code
