"""Selections in the ledger: kept once, expanded in pages, forgotten when unused, invisible to workers."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from adit.ledger import selections
from adit.ledger.expansion import BATCH
from adit.ledger.records import SelectionRecord, TaskSeed
from adit.ledger.resources import ResourceConflict
from adit.model.transfer_job import ListReference
from tests.integration.ledger.scene import NOW, Scene, after, transfer_job

WEEK = NOW + timedelta(days=7)
LINES = [TaskSeed(f"1.2.{n}", f"patient-{n}", (f"1.2.{n}.1",) if n % 2 else None) for n in range(2 * BATCH + 7)]


def kept(scene: Scene, name: str | None = "cohort", lines: list[TaskSeed] = LINES) -> SelectionRecord:
    record, new = scene.ledger.add_selection("default", name, lines, WEEK, NOW)
    assert new
    return record


def job_of(scene: Scene, called: str = "ct", **reference: str) -> UUID:
    return scene.apply(transfer_job(called, selection={"list": reference})).id


def test_what_is_kept_is_told_without_its_lines(scene: Scene) -> None:
    record = kept(scene, lines=[TaskSeed("1.2", "7"), TaskSeed("1.3", None, None, "P1")])
    assert (record.size, record.pseudonyms, record.without_patient_id, record.used_at) == (2, 1, 1, None)
    assert scene.ledger.selection("default", ListReference(name="cohort")) == record
    assert scene.ledger.selection("default", ListReference(id=str(record.id))) == record
    assert scene.ledger.selection("other", ListReference(name="cohort")) is None
    assert scene.ledger.selection("other", ListReference(id=str(record.id))) is None
    assert scene.ledger.selection("default", ListReference(id=str(uuid4()))) is None


def test_the_same_post_again_is_the_same_selection_and_another_is_refused(scene: Scene) -> None:
    record = kept(scene)
    assert scene.ledger.add_selection("default", "cohort", LINES, WEEK, after(9)) == (record, False)
    with pytest.raises(ResourceConflict, match="cannot be changed"):
        scene.ledger.add_selection("default", "cohort", LINES[:-1], WEEK, NOW)
    assert kept(scene, None).id != kept(scene, None).id


def test_a_list_becomes_tasks_in_its_order(scene: Scene) -> None:
    job = job_of(scene, id=str(kept(scene).id))
    selection = scene.ledger.selection("default", ListReference(name="cohort"))
    assert selection is not None
    assert scene.ledger.expand_list(job, selection.id, after(5)) == len(LINES)
    assert scene.ledger.expand_list(job, selection.id, after(6)) == 0
    made = list(scene.ledger.tasks(job))
    assert [(task.study_instance_uid, task.series_instance_uids) for task in made] == [
        (line.study_instance_uid, line.series_instance_uids) for line in LINES
    ]
    assert scene.claim(job, now=after(5))[0].patient_id == "patient-0"
    used = scene.ledger.selection("default", ListReference(name="cohort"))
    assert used is not None
    assert used.used_at == after(5)


def test_a_crash_between_batches_is_resumed_from_the_cursor(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = kept(scene)
    job = job_of(scene, name="ct")
    pages = selections.page
    left = iter([True, False])

    def cut_off(*given: Any) -> object:
        if not next(left):
            raise KeyboardInterrupt
        return pages(*given)

    monkeypatch.setattr(selections, "page", cut_off)
    with pytest.raises(KeyboardInterrupt):
        scene.ledger.expand_list(job, selection.id, NOW)
    monkeypatch.undo()
    assert len(list(scene.ledger.tasks(job))) == BATCH
    assert scene.ledger.close_jobs(NOW) == []
    assert scene.ledger.expand_list(job, selection.id, NOW) == len(LINES) - BATCH


def test_two_at_once_make_each_task_once(scene: Scene) -> None:
    selection = kept(scene)
    job = job_of(scene, name="ct")
    made: list[int] = []
    threads = [
        threading.Thread(target=lambda: made.append(scene.ledger.expand_list(job, selection.id, NOW))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sum(made) == len(LINES)


def test_unused_ones_expire_and_nothing_that_a_job_needs(scene: Scene) -> None:
    few = LINES[:3]
    for name in ("unused", "used", "awaited", "awaited-by-id", "fresh"):
        until = after(3600) if name == "fresh" else after(60)
        scene.ledger.add_selection("default", name, few, until, NOW)
    scene.ledger.add_selection("other", "awaited", few, after(60), NOW)  # the job is not of this namespace
    used = scene.ledger.selection("default", ListReference(name="used"))
    by_id = scene.ledger.selection("default", ListReference(name="awaited-by-id"))
    assert used is not None
    assert by_id is not None
    scene.ledger.expand_list(job_of(scene, "first", name="used"), used.id, NOW)
    job_of(scene, "second", name="awaited")
    job_of(scene, "third", id=str(by_id.id))
    scene.ledger.expire(after(30))
    assert scene.ledger.selection("default", ListReference(name="unused")) is not None
    scene.ledger.expire(after(60))
    there = {
        name
        for name in ("unused", "used", "awaited", "awaited-by-id", "fresh")
        if scene.ledger.selection("default", ListReference(name=name))
    }
    assert there == {"used", "awaited", "awaited-by-id", "fresh"}
    assert scene.ledger.selection("other", ListReference(name="awaited")) is None


def test_a_selection_that_is_gone_makes_no_half_job(scene: Scene) -> None:
    job = job_of(scene, name="ct")
    with pytest.raises(LookupError):
        scene.ledger.expand_list(job, uuid4(), NOW)
    assert [record.id for record in scene.ledger.unexpanded(10)] == [job]


def test_a_worker_sees_no_selection_and_no_token(scene: Scene, worker_url: str) -> None:
    kept(scene, lines=LINES[:3])
    engine = create_engine(worker_url)
    for table in ("selection", "selection_line", "api_token"):
        with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(f"SELECT count(*) FROM {table}"))
    engine.dispose()
