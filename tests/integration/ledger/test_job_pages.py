"""Jobs page by page: each once, newest first, whatever is added meanwhile, by each filter."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from adit.ledger import instances, job_pages
from adit.ledger.job_pages import JobFilter, JobKey
from adit.ledger.resources import ResourceConflict
from adit.model.outcome import Outcome
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import Cancel, TransferJob
from tests.integration.ledger.scene import FAILURE, NOW, Scene, after, report, row, transfer_job


def names(scene: Scene, limit: int = 2, **wanted: object) -> list[str]:
    """Of all pages."""
    found: list[str] = []
    key: JobKey | None = None
    while True:
        page = scene.ledger.job_page(JobFilter(**wanted), key, limit)  # type: ignore[arg-type]
        assert len(page.summaries) <= limit
        found += [summary.record.job.metadata.name for summary in page.summaries]
        if page.next is None:
            return found
        key = page.next


def test_every_job_once_and_the_newest_first(scene: Scene) -> None:
    for number in range(7):
        scene.apply(transfer_job(f"ct-{number}"), after(number // 3))  # several at the same moment
    found = names(scene)
    assert sorted(found) == [f"ct-{number}" for number in range(7)]
    assert [name in ("ct-0", "ct-1", "ct-2") for name in found] == [False] * 4 + [True] * 3
    first = scene.ledger.job_page(JobFilter(), None, 3)
    scene.apply(transfer_job("newer"), after(60))
    second = scene.ledger.job_page(JobFilter(), first.next, 10)
    assert second.next is None
    assert {summary.record.job.metadata.name for summary in (*first.summaries, *second.summaries)} == set(found)


def test_by_state_which_is_computed(scene: Scene) -> None:
    done = scene.apply(transfer_job("done"))
    scene.run(done.id)
    failed = scene.apply(transfer_job("failed"))
    scene.run(failed.id, FAILURE, outcome=report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    running = scene.apply(transfer_job("running"))
    scene.claim(running.id)
    scene.apply(transfer_job("waiting"))
    assert names(scene, state=JobState.SUCCESS) == ["done"]
    assert names(scene, state=JobState.FAILURE) == ["failed"]
    assert names(scene, state=JobState.IN_PROGRESS) == ["running"]
    assert names(scene, state=JobState.PENDING) == ["waiting"]
    assert names(scene, state=JobState.CANCELED) == []
    page = scene.ledger.job_page(JobFilter(state=JobState.SUCCESS), None, 5)
    assert page.summaries[0].verified == 1
    assert page.summaries[0].tasks == {TaskState.SUCCESS: 1}


def test_a_page_looks_at_a_bounded_number_of_jobs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 4)
    scene.run(scene.apply(transfer_job("done"), NOW).id)
    scene.ledger.close_jobs(NOW)
    for number in range(9):
        scene.apply(transfer_job(f"ct-{number}"), after(number))
    page = scene.ledger.job_page(JobFilter(state=JobState.CANCELING), None, 3)
    assert page.summaries == ()
    assert page.next is not None
    assert names(scene, state=JobState.PENDING) == [f"ct-{number}" for number in reversed(range(9))]


def test_by_what_the_job_says(scene: Scene) -> None:
    scene.apply(transfer_job("mine", owner="alice"))
    scene.apply(transfer_job("other", source={"node": "archive"}), after(60))
    elsewhere = transfer_job("elsewhere").model_dump(by_alias=True, exclude_none=True)
    elsewhere["metadata"]["namespace"] = "lab"
    scene.ledger.apply_job(TransferJob.model_validate(elsewhere), after(120))
    assert names(scene, owner="alice") == ["mine"]
    assert names(scene, source="archive") == ["other"]
    assert names(scene, destination="nowhere") == []
    assert names(scene, namespaces=frozenset({"lab"})) == ["elsewhere"]
    assert names(scene, namespaces=frozenset()) == []
    assert names(scene, created_after=after(60)) == ["elsewhere", "other"]
    assert names(scene, created_before=after(60)) == ["mine"]


def test_deleted_ones_are_listed_when_asked_for(scene: Scene) -> None:
    scene.ledger.delete_job(scene.apply(transfer_job("gone")).id, NOW)
    assert names(scene) == []
    assert names(scene, deleted=True) == ["gone"]


def test_tasks_come_in_pages_and_only_to_their_job(scene: Scene) -> None:
    job = scene.apply(transfer_job("a", studies=[f"1.2.{n}" for n in range(5)]))
    other = scene.apply(transfer_job("b"))
    first = scene.ledger.task_page(job.id, None, 0, 3)
    rest = scene.ledger.task_page(job.id, None, first[-1].id, 3)
    assert [task.study_instance_uid for task in (*first, *rest)] == [f"1.2.{n}" for n in range(5)]
    assert scene.ledger.task_page(job.id, TaskState.SUCCESS, 0, 3) == []
    assert scene.ledger.task(job.id, first[0].id) == first[0]
    assert scene.ledger.task(other.id, first[0].id) is None


def test_attempts_are_told_in_their_order(scene: Scene) -> None:
    job = scene.apply()
    task = next(scene.ledger.tasks(job.id)).id
    assert scene.ledger.attempts(task) == []
    scene.run(job.id)
    told = scene.ledger.attempts(task)
    assert [each.number for each in told] == [1]
    assert told[0].report is not None
    assert told[0].report.outcome is Outcome.SUCCESS
    assert told[0].reference == "worker-1"


def test_a_job_is_created_once_and_edited_as_it_is(scene: Scene) -> None:
    assert scene.ledger.create_job(transfer_job(), NOW)
    assert not scene.ledger.create_job(transfer_job(parallelism=3), NOW)
    assert scene.record().job.spec.parallelism == 10

    def cancelled(job: TransferJob) -> TransferJob:
        return job.model_copy(update={"spec": job.spec.model_copy(update={"cancel": Cancel.TERMINATE})})

    assert scene.ledger.edit_job(("default", "ct"), cancelled) == scene.record().job
    assert scene.record().job.spec.cancel is Cancel.TERMINATE
    assert scene.ledger.edit_job(("default", "nobody"), cancelled) is None
    with pytest.raises(ResourceConflict, match="set once"):
        scene.ledger.edit_job(
            ("default", "ct"),
            lambda job: job.model_copy(update={"spec": job.spec.model_copy(update={"cancel": Cancel.DRAIN})}),
        )


def test_the_manifest_comes_in_parts_that_are_the_whole(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=["1.2.1", "1.2.2"]))
    scene.run(job.id)
    head, tasks = scene.ledger.manifest_parts(job.id)
    assert {**head, "tasks": list(tasks)} == scene.ledger.manifest(job.id)
    with pytest.raises(LookupError):
        scene.ledger.manifest_parts(UUID(int=7))


def test_tokens_are_found_by_themselves_only_while_they_are_good(scene: Scene) -> None:
    until = NOW + timedelta(days=1)
    token = scene.ledger.create_token("ci", ["read"], ["lab"], until, NOW)
    assert token is not None
    assert scene.ledger.create_token("ci", ["admin"], None, until, NOW) is None
    found = scene.ledger.token(token, NOW)
    assert found is not None
    assert (found.name, found.scopes, found.namespaces) == ("ci", frozenset({"read"}), frozenset({"lab"}))
    for wrong in ("", "ci", token[:-1], token.upper(), f"{token}\x00", "\udcff"):
        assert scene.ledger.token(wrong, NOW) is None
    assert scene.ledger.token(token, until) is None
    assert scene.ledger.revoke_token("ci", NOW)
    assert scene.ledger.token(token, NOW) is None
    assert not scene.ledger.revoke_token("nobody", NOW)
    assert [each.revoked_at for each in scene.ledger.tokens()] == [NOW]


def test_the_manifest_has_every_instance_of_small_and_big_tasks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "_PAGE", 5)
    sizes = [1, 2, 0, 7, 5, 1, 12, 4, 0]
    job = scene.apply(transfer_job(studies=[f"1.2.{n}" for n in range(len(sizes))]))
    for number, size in enumerate(sizes):
        rows = [row(f"1.2.{number}.{each}") for each in range(size)]
        scene.attempt(scene.claim(job.id)[0], rows, report(Outcome.TRANSIENT_FAULT))
    _, tasks = scene.ledger.manifest_parts(job.id)
    found = [[each["sopInstanceUID"] for each in task["instances"]] for task in tasks]  # type: ignore[attr-defined]
    assert [len(each) for each in found] == sizes
    assert found == [sorted(f"1.2.{number}.{each}" for each in range(size)) for number, size in enumerate(sizes)]
