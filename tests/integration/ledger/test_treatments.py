"""What was done to instances: written once however often it is tried, counted from the rows, kept when they go."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.connection import LedgerError, engine, transaction
from adit.ledger.records import Settlement
from adit.model.assignment import Progress
from adit.model.instance import InstanceState
from adit.model.state import TaskState
from adit.model.treatment import Decision, TreatmentRecord
from tests.integration.ledger.scene import NOW, SUCCESS, Scene, after, report, row, transfer_job


def record(decision: Decision = Decision.TREATED, **values: object) -> TreatmentRecord:
    known = {"profile": "research", "generation": 3, "project": "stroke", "edition": "2026d", "key_id": "ab"}
    return TreatmentRecord.model_validate({**known, "decision": decision, **values})


TREATED = record(changes=("00100010 pseudonym E.1-1 Z", "00100020 pseudonym E.1-1 Z", "00080090 remove E.1-1 Z"))
LEFT_OUT = record(Decision.LEFT_OUT, reason="modality PR")
QUARANTINED = record(Decision.QUARANTINED, reason="Pixels: SecondaryCapture", place="7FE00010")
V = InstanceState.VERIFIED


def write(worker: AttemptLedger, *treatments: TreatmentRecord) -> None:
    rows = [
        row("1", V, treatment=TREATED.digest, sent_as="2.25.1"),
        row("2", V, treatment=TREATED.digest, sent_as="2.25.2"),
        row("3", InstanceState.LEFT_OUT, treatment=LEFT_OUT.digest),
    ]
    worker.write(rows, Progress(), [], NOW, treatments)


def test_a_job_tells_what_was_done_however_often_it_was_tried(scene: Scene) -> None:
    job = scene.apply(transfer_job(retention={"instancesSeconds": 60}))
    for again in (True, False):
        assignment = scene.claim(job.id)[0]
        worker = scene.worker(assignment)
        worker.begin(f"w{assignment.number}", NOW)
        assert worker.treatments() == ([] if again else sorted([TREATED, LEFT_OUT], key=lambda each: each.digest))
        write(worker, TREATED, LEFT_OUT)
        write(worker, TREATED)
        worker.finish(report(), NOW)
        worker.close()
        settlement = Settlement(TaskState.PENDING, not_before=NOW) if again else SUCCESS
        assert scene.ledger.settle(assignment.attempt_id, settlement, NOW)
    told = scene.ledger.deidentification(job.id)
    assert told == {
        "profiles": [
            {
                "profile": "research",
                "generation": 3,
                "project": "stroke",
                "edition": "2026d",
                "keyId": "ab",
                "treated": 2,
                "leftOut": 1,
                "quarantined": 0,
                "elementsChanged": 6,
                "actions": {"pseudonym": 4, "remove": 2},
            }
        ],
        "leftOut": [{"instances": 1, "reason": "modality PR"}],
        "quarantined": [],
    }
    [task] = scene.ledger.tasks(job.id)
    assert (task.state, task.expected, task.verified, task.left_out) == (TaskState.SUCCESS, 2, 2, 1)
    manifest = scene.ledger.manifest(job.id)
    assert [each["sentAs"] for each in manifest["tasks"][0]["instances"]] == ["2.25.1", "2.25.2", None]  # type: ignore[index]
    scene.ledger.close_jobs(NOW)
    assert scene.ledger.expire(after(timedelta(days=400).total_seconds())) == 1
    assert list(scene.ledger.instances(task.id)) == []
    assert scene.ledger.deidentification(job.id) == told


def test_what_could_not_be_made_safe_is_told_with_its_place(scene: Scene) -> None:
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    worker.write([row("1", InstanceState.RECEIVED, treatment=QUARANTINED.digest)], Progress(), [], NOW, [QUARANTINED])
    worker.finish(report(), NOW)
    worker.close()
    assert scene.ledger.deidentification(job.id)["quarantined"] == []  # counted when the attempt is settled
    scene.ledger.settle(assignment.attempt_id, Settlement(TaskState.FAILURE, message="Refused."), NOW)
    assert scene.ledger.deidentification(job.id)["quarantined"] == [
        {"instances": 1, "reason": "Pixels: SecondaryCapture", "place": "7FE00010"}
    ]


def test_success_needs_something_that_arrived(scene: Scene) -> None:
    """A task of which the profile leaves out everything has not succeeded, whoever says so."""
    from adit.ledger.settlement import NotProven

    assignment = scene.claim(scene.apply().id)[0]
    scene.attempt(assignment, [row("1", InstanceState.LEFT_OUT)], report())
    with pytest.raises(NotProven):
        scene.ledger.settle(assignment.attempt_id, SUCCESS, NOW)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE treatment SET changes = ''",
        "DELETE FROM treatment",
        "INSERT INTO treatment (task_id, digest, document, changes) VALUES (:other, 'd', '{}', '')",
    ],
)
def test_a_worker_cannot_change_what_was_said_nor_speak_for_others(
    scene: Scene, worker_url: str, statement: str
) -> None:
    mine, other = scene.claim(scene.apply(transfer_job(studies=["1.2.1", "1.2.2"])).id, 2)
    source = engine(worker_url, connections=1)
    with pytest.raises(LedgerError, match="42501"), transaction(source, token=mine.token) as connection:
        connection.execute(text(statement), {"other": other.task_id})
    source.dispose()
