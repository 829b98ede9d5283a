"""Retention: instance rows go when their time is over, by whole months where possible; the proof stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from adit.ledger.connection import engine, transaction
from adit.ledger.records import JobRecord
from tests.integration.ledger.scene import Scene, transfer_job

JANUARY = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def owner(ledger_url: str) -> Iterator[Engine]:
    source = engine(ledger_url, connections=1)
    yield source
    source.dispose()


def partitions(owner: Engine) -> dict[str, int]:
    """The rows of each partition."""
    names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'instance'::regclass")
    with transaction(owner) as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in connection.execute(names).scalars()
        }


def done(scene: Scene, name: str, now: datetime, days: int) -> JobRecord:
    job = scene.apply(transfer_job(name, retention={"instancesSeconds": days * 86400}), now)
    scene.run(job.id, now=now)
    scene.ledger.close_jobs(now)
    return scene.record(name)


def test_rows_lie_in_the_month_of_their_job(scene: Scene, owner: Engine) -> None:
    done(scene, "a", JANUARY, 1)
    done(scene, "b", FEBRUARY, 1)
    assert partitions(owner) == {"instance_2026_01": 1, "instance_2026_02": 1, "instance_default": 0}


def test_a_month_that_is_over_is_dropped_whole_and_the_digest_stays(scene: Scene, owner: Engine) -> None:
    job = done(scene, "a", JANUARY, 10)
    done(scene, "b", FEBRUARY, 100)
    digest = next(scene.ledger.tasks(job.id)).digest
    assert digest is not None
    assert scene.ledger.expire(JANUARY + 9 * DAY) == 0
    assert scene.ledger.expire(JANUARY + 10 * DAY) == 1
    assert scene.ledger.expire(JANUARY + 11 * DAY) == 0
    assert partitions(owner) == {"instance_2026_02": 1, "instance_default": 0}
    task = next(scene.ledger.tasks(job.id))
    assert (task.digest, task.expected, task.verified) == (digest, 1, 1)
    manifest = scene.ledger.manifest(job.id)
    assert manifest["job"]["instancesDroppedAt"] == (JANUARY + 10 * DAY).isoformat()  # type: ignore[index]
    assert manifest["tasks"][0]["instances"] == []  # type: ignore[index]


def test_within_a_month_only_what_is_due_goes(scene: Scene, owner: Engine) -> None:
    short = done(scene, "short", JANUARY, 10)
    long = done(scene, "long", JANUARY, 100)
    assert scene.ledger.expire(JANUARY + 20 * DAY) == 1
    assert partitions(owner)["instance_2026_01"] == 1
    assert len(list(scene.ledger.instances(next(scene.ledger.tasks(long.id)).id))) == 1
    assert list(scene.ledger.instances(next(scene.ledger.tasks(short.id)).id)) == []


def test_an_open_job_keeps_its_rows_and_its_month(scene: Scene, owner: Engine) -> None:
    job = scene.apply(transfer_job(studies=["1.2.1", "1.2.2"], retention={"instancesSeconds": 0}), JANUARY)
    scene.run(job.id, now=JANUARY)
    assert scene.ledger.expire(JANUARY + 400 * DAY) == 0
    assert partitions(owner)["instance_2026_01"] == 1


def test_the_running_month_keeps_its_partition(scene: Scene, owner: Engine) -> None:
    done(scene, "a", FEBRUARY, 0)
    assert scene.ledger.expire(FEBRUARY) == 1
    assert partitions(owner) == {"instance_2026_02": 0, "instance_default": 0}


def test_without_a_month_of_its_own_a_row_lies_in_the_default_partition(scene: Scene, owner: Engine) -> None:
    job = scene.apply(transfer_job(retention={"instancesSeconds": 0}), JANUARY)
    with transaction(owner) as connection:
        connection.execute(text("DROP TABLE instance_2026_01"))
    scene.run(job.id, now=JANUARY)
    assert partitions(owner) == {"instance_default": 1}
    scene.apply(transfer_job("another"), JANUARY)  # its month cannot be made now, and nobody is hurt
    assert partitions(owner) == {"instance_default": 1}
    scene.ledger.close_jobs(JANUARY)
    assert scene.ledger.expire(JANUARY + DAY) == 1
    assert partitions(owner) == {"instance_default": 0}


def test_a_month_in_use_is_dropped_next_time(scene: Scene, owner: Engine) -> None:
    done(scene, "a", JANUARY, 1)
    with transaction(owner) as connection:
        connection.execute(text("LOCK TABLE instance_2026_01 IN ACCESS SHARE MODE"))
        assert scene.ledger.expire(JANUARY + 9 * DAY) == 1
    assert scene.ledger.expire(JANUARY + 9 * DAY) == 0
    assert partitions(owner) == {"instance_default": 0}
