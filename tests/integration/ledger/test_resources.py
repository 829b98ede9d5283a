"""Applying resources: what is created, what may change, and which field is named when it may not."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger, ResourceConflict
from adit.ledger.records import Applied, TaskSeed
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault, FaultCode
from adit.model.state import JobState
from adit.model.transfer_job import Cancel, TransferJob
from tests.integration.ledger.scene import NOW, Scene, after, node, seeds, transfer_job

REFUSAL = Fault(code=FaultCode.DEIDENTIFICATION_UNAVAILABLE, message="No copy can be de-identified.", cure="Wait.")


def test_a_node_is_created_then_unchanged_then_configured(scene: Scene) -> None:
    assert scene.ledger.apply_node(node("pacs"), NOW) is Applied.CREATED
    assert scene.ledger.apply_node(node("pacs"), NOW) is Applied.UNCHANGED
    assert scene.ledger.apply_node(node("pacs", tasks=2), NOW) is Applied.CONFIGURED
    assert scene.ledger.node(("default", "pacs")) == node("pacs", tasks=2)
    assert scene.ledger.node(("other", "pacs")) is None
    scene.ledger.apply_node(node("archive"), NOW)
    assert [each.metadata.name for each in scene.ledger.nodes()] == ["archive", "pacs"]


def test_a_job_keeps_its_identity_when_it_changes(scene: Scene) -> None:
    assert scene.ledger.apply_job(transfer_job(), NOW) is Applied.CREATED
    created = scene.record()
    assert scene.ledger.apply_job(transfer_job(), after(1)) is Applied.UNCHANGED
    assert scene.ledger.apply_job(transfer_job(suspend=True, deadlineSeconds=60), after(1)) is Applied.CONFIGURED
    changed = scene.record()
    assert (changed.id, changed.created_at, changed.deadline) == (created.id, NOW, after(60))
    assert changed.job.spec.suspend is True


def test_the_api_servers_uid_is_the_jobs_id(scene: Scene) -> None:
    uid = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    job = transfer_job()
    scene.ledger.apply_job(job.model_copy(update={"metadata": job.metadata.model_copy(update={"uid": uid})}), NOW)
    assert str(scene.record().id) == uid


def with_uid(job: TransferJob, number: int) -> TransferJob:
    return job.model_copy(update={"metadata": job.metadata.model_copy(update={"uid": str(UUID(int=number))})})


def test_a_deleted_job_stops_and_its_record_stays(scene: Scene) -> None:
    record = scene.apply(with_uid(transfer_job(studies=("1.2.1", "1.2.2")), 1))
    running = scene.claim(record.id)[0]
    assert scene.ledger.delete_job(record.id, after(1))
    assert not scene.ledger.delete_job(record.id, after(2))
    assert scene.ledger.job(("default", "ct")) is None
    assert scene.ledger.live_jobs() == {}
    assert scene.ledger.terminating() == [running.attempt_id]
    assert scene.ledger.cancel_pending(after(1)) == 1
    assert scene.claim(record.id) == []
    kept = scene.ledger.job_by_id(record.id)
    assert kept is not None
    assert (kept.deleted_at, kept.job.spec.cancel) == (after(1), Cancel.TERMINATE)


def test_a_finished_job_that_is_deleted_keeps_its_result(scene: Scene) -> None:
    record = scene.apply(with_uid(transfer_job(), 1))
    scene.run(record.id)
    scene.ledger.close_jobs(after(1))
    scene.ledger.delete_job(record.id, after(2))
    kept = scene.ledger.summary(record.id)
    assert (kept.state, kept.record.job.spec.cancel) == (JobState.SUCCESS, None)


def test_another_resource_of_the_same_name_is_another_job(scene: Scene) -> None:
    """Deleted and made anew while nobody looked: the first is over, whatever late news comes of it."""
    scene.apply(with_uid(transfer_job(), 1))
    assert scene.ledger.apply_job(with_uid(transfer_job(studies=("1.2.9",)), 2), after(1)) is Applied.CREATED
    assert scene.record().id == UUID(int=2)
    first = scene.ledger.job_by_id(UUID(int=1))
    assert first is not None
    assert first.deleted_at == after(1)
    assert scene.ledger.apply_job(with_uid(transfer_job(), 1), after(2)) is Applied.UNCHANGED
    assert scene.record().id == UUID(int=2)


def test_a_node_that_went_away_starts_nothing_new(scene: Scene) -> None:
    record = scene.apply(transfer_job(studies=("1.2.1", "1.2.2")))
    assert len(scene.claim(record.id)) == 1
    assert scene.ledger.delete_node(("default", "research"))
    assert not scene.ledger.delete_node(("default", "research"))
    assert scene.claim(record.id) == []
    scene.ledger.apply_node(node("research"), after(1))
    assert len(scene.claim(record.id)) == 1


def test_a_node_made_anew_is_not_deleted_by_late_news_of_the_old_one(scene: Scene) -> None:
    def made(uid: str) -> DicomNode:
        plain = node("pacs")
        return plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"uid": uid})})

    scene.ledger.apply_node(made("old"), NOW)
    scene.ledger.apply_node(made("new"), NOW)
    assert not scene.ledger.delete_node(("default", "pacs"), "old")
    assert scene.ledger.node(("default", "pacs")) is not None
    assert scene.ledger.delete_node(("default", "pacs"), "new")


def test_an_older_generation_changes_nothing(scene: Scene) -> None:
    """Whoever brings it late: a list that was begun before an event, a leader that was frozen."""

    def generation(resource: Any, number: int, uid: str = str(UUID(int=7))) -> Any:
        metadata = resource.metadata.model_copy(update={"uid": uid, "generation": number})
        return resource.model_copy(update={"metadata": metadata})

    for number in (1, 2, 1):
        scene.ledger.apply_node(generation(node("pacs", tasks=number), number), NOW)
        scene.ledger.apply_job(generation(transfer_job(parallelism=number), number), NOW)
    found = scene.ledger.node(("default", "pacs"))
    assert found is not None
    assert (found.spec.limits.tasks, scene.record().job.spec.parallelism) == (2, 2)
    scene.ledger.apply_node(generation(node("pacs", tasks=3), 1, str(UUID(int=8))), NOW)  # made anew
    found = scene.ledger.node(("default", "pacs"))
    assert found is not None
    assert found.spec.limits.tasks == 3


def test_jobs_come_newest_first(scene: Scene) -> None:
    for second, name in enumerate(("a", "b", "c")):
        scene.ledger.apply_job(transfer_job(name), after(second))
    assert [record.job.metadata.name for record in scene.ledger.jobs(limit=2)] == ["c", "b"]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("source", {"source": {"node": "other"}}),
        ("destination", {"destination": {"node": "other"}}),
        ("selection", {"selection": {"studies": [{"studyInstanceUID": "1.2.9", "patientID": "4711"}]}}),
        ("trial", {"trial": {"protocolID": "STROKE"}}),
        ("owner", {"owner": "someone-else"}),
    ],
)
def test_what_a_job_is_about_cannot_be_changed(scene: Scene, field: str, change: dict[str, Any]) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    with pytest.raises(ResourceConflict) as raised:
        scene.ledger.apply_job(transfer_job(**change), NOW)
    assert raised.value.field == f"spec.{field}"
    assert str(raised.value).startswith(f"spec.{field}: {field} cannot be changed")
    assert "4711" not in str(raised.value)
    assert scene.record().job == transfer_job()


def test_cancel_only_goes_forward(scene: Scene) -> None:
    for cancel in (None, "Drain", "Terminate"):
        scene.ledger.apply_job(transfer_job(cancel=cancel), NOW)
    for back in ("Drain", None):
        with pytest.raises(ResourceConflict, match="set once") as raised:
            scene.ledger.apply_job(transfer_job(cancel=back), NOW)
        assert raised.value.field == "spec.cancel"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("priority", {"priority": "High"}),
        ("parallelism", {"parallelism": 1}),
        ("retry", {"retry": {"maxAttempts": 1}}),
    ],
)
def test_a_finished_job_is_frozen(scene: Scene, field: str, change: dict[str, Any]) -> None:
    job = scene.apply()
    assert scene.ledger.apply_job(transfer_job(**change), NOW) is Applied.CONFIGURED
    scene.run(job.id)
    scene.ledger.close_jobs(NOW)
    assert scene.ledger.apply_job(transfer_job(**change), NOW) is Applied.UNCHANGED
    with pytest.raises(ResourceConflict, match=r"frozen.*failedOf") as raised:
        scene.ledger.apply_job(transfer_job(), NOW)
    assert raised.value.field == f"spec.{field}"


def test_a_refused_job_never_runs_and_says_why(scene: Scene) -> None:
    assert scene.ledger.apply_job(transfer_job(), NOW, refusal=REFUSAL) is Applied.CREATED
    record = scene.record()
    assert (record.refusal, record.ended_at) == (REFUSAL, NOW)
    assert scene.ledger.unexpanded(10) == []
    assert scene.ledger.expand(record.id, seeds(record.job), NOW) == 0
    summary = scene.ledger.summary(record.id)
    assert summary.state is JobState.FAILURE
    assert "DeidentificationUnavailable" in summary.message
    assert scene.ledger.apply_job(transfer_job(), NOW) is Applied.UNCHANGED


def test_only_a_job_without_tasks_can_be_refused(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job("early"), NOW)
    assert scene.ledger.refuse(scene.record("early").id, REFUSAL, NOW)
    assert not scene.ledger.refuse(scene.record("early").id, REFUSAL, NOW)
    late = scene.apply(transfer_job("late"))
    assert not scene.ledger.refuse(late.id, REFUSAL, NOW)
    assert scene.record("late").refusal is None


def test_the_same_job_applied_twice_at_once_is_one_job(scene: Scene) -> None:
    answers: list[Applied] = []
    threads = [
        threading.Thread(target=lambda: answers.append(scene.ledger.apply_job(transfer_job(), NOW))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(answers) == [Applied.CREATED] + [Applied.UNCHANGED] * 3
    assert len(scene.ledger.jobs()) == 1


def test_a_changed_document_is_seen_by_another_ledger(scene: Scene, ledger_url: str) -> None:

    scene.apply()
    source = engine(ledger_url)
    try:
        scene.record()
        Ledger(source).apply_job(transfer_job(parallelism=3), NOW)
    finally:
        source.dispose()
    assert scene.record().job.spec.parallelism == 3


def test_an_unknown_job_is_no_summary(scene: Scene) -> None:

    with pytest.raises(LookupError):
        scene.ledger.summary(uuid4())
    with pytest.raises(LookupError):
        scene.ledger.manifest(uuid4())
    with pytest.raises(LookupError):
        scene.ledger.expand(uuid4(), [TaskSeed("1.2")], NOW)
    with pytest.raises(LookupError):
        scene.ledger.instances(1)
