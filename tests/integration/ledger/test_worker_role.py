"""The restricted role: a worker reaches its own attempt and its task's instances, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from adit.ledger.connection import LedgerError, engine, transaction
from adit.model.assignment import Assignment
from tests.integration.ledger.scene import LOST, NOW, Scene, report, row, transfer_job

DENIED = "42501"  # insufficient_privilege, by grants and by row-level security


@pytest.fixture
def role(worker_url: str) -> Iterator[Engine]:
    source = engine(worker_url, connections=1)
    yield source
    source.dispose()


@pytest.fixture
def claims(scene: Scene) -> list[Assignment]:
    return scene.claim(scene.apply(transfer_job(studies=["1.2.1", "1.2.2"])).id, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM job",
        "SELECT * FROM task",
        "SELECT * FROM node",
        "SELECT * FROM event",
        "SELECT * FROM project_key",
        "INSERT INTO project_key VALUES ('default', 'stroke', 'ab', now())",
        "SELECT * FROM instance_default",
        "SELECT claimed_at FROM attempt",
        "UPDATE task SET state = 'Success'",
        "UPDATE job SET cancel = NULL",
        "UPDATE node SET name = 'x'",
        "DELETE FROM instance",
        "DELETE FROM attempt",
        "TRUNCATE instance",
        "INSERT INTO task (job_id) VALUES (gen_random_uuid())",
        "CREATE TABLE mine (x int)",
        *(
            f"UPDATE attempt SET {column} = {column}"
            for column in ("token", "task_id", "number", "assignment", "settled_at", "stop_requested_at", "id")
        ),
    ],
)
def test_what_is_not_the_workers_is_denied(claims: list[Assignment], role: Engine, statement: str) -> None:
    with pytest.raises(LedgerError, match=DENIED), transaction(role, token=claims[0].token) as connection:
        connection.execute(text(statement))


def visible(role: Engine, token: UUID | None) -> list[int]:
    with transaction(role, token=token) as connection:
        return list(connection.execute(text("SELECT id FROM attempt")).scalars())


def test_a_token_shows_one_attempt(claims: list[Assignment], role: Engine) -> None:
    assert visible(role, claims[0].token) == [claims[0].attempt_id]
    assert visible(role, claims[1].token) == [claims[1].attempt_id]
    assert visible(role, uuid4()) == []
    assert visible(role, None) == []


INSERT = text(
    """INSERT INTO instance (job_created_on, task_id, sop_instance_uid, series_instance_uid, state, expected_at)
    VALUES (:day, :task, '1', '2', 'Verified', now())"""
)


def test_another_tasks_rows_can_be_neither_seen_nor_written(
    scene: Scene, claims: list[Assignment], role: Engine
) -> None:
    mine, other = claims
    scene.attempt(other, [row("9")], report())
    with transaction(role, token=mine.token) as connection:
        assert connection.execute(text("SELECT count(*) FROM instance")).scalar_one() == 0
        assert connection.execute(text("UPDATE instance SET state = 'Expected'")).rowcount == 0
    for statement, values in (
        (INSERT, {"task": other.task_id, "day": other.job_created_on}),
        (
            text("INSERT INTO event (task_id, at, level, code, message) VALUES (:task, now(), 'info', 'x', 'y')"),
            {"task": other.task_id},
        ),
    ):
        with pytest.raises(LedgerError, match=DENIED), transaction(role, token=mine.token) as connection:
            connection.execute(statement, values)


def test_the_fence_stands_in_the_database_too(scene: Scene, claims: list[Assignment], role: Engine) -> None:
    """A worker whose code forgot to look is stopped as well, once its attempt has ended."""
    mine = claims[0]
    values = {"task": mine.task_id, "day": mine.job_created_on}
    with transaction(role, token=mine.token) as connection:
        connection.execute(INSERT, values)
    scene.ledger.declare_lost(mine.attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    with pytest.raises(LedgerError, match=DENIED), transaction(role, token=mine.token) as connection:
        connection.execute(INSERT, values)
    with transaction(role, token=mine.token) as connection:
        assert connection.execute(text("SELECT count(*) FROM instance")).scalar_one() == 0


def test_a_worker_holds_one_connection_and_no_session_state(
    scene: Scene, claims: list[Assignment], role: Engine
) -> None:
    worker = scene.worker(claims[0])
    worker.begin("w", NOW)
    worker.instances()
    whose = text(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'adit_embedded_worker' AND datname = current_database()"
    )
    with transaction(role) as connection:
        assert connection.execute(whose).scalar_one() == 2  # the worker's and this one
        assert connection.execute(text("SELECT current_setting('adit.token', true)")).scalar_one() == ""
    worker.close()
