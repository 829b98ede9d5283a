"""A job's whole life through real rows: applied, expanded, claimed, done, settled, closed, reported."""

from __future__ import annotations

import json

from adit.ledger.digest import digest
from adit.ledger.records import Applied
from adit.model.assignment import Progress
from adit.model.instance import InstanceState
from adit.model.state import JobState, TaskState
from tests.integration.ledger.scene import NOW, Scene, after, row, transfer_job


def test_a_study_becomes_green_and_the_manifest_proves_it(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=["1.2.1", "1.2.2"]))
    assert scene.ledger.summary(job.id).state is JobState.PENDING
    rows = [row(f"1.2.1.1.{number}", size=100, sha256=f"{number:064x}", location="1003/x") for number in (2, 10, 1)]
    first = scene.run(job.id, records=rows)
    assert scene.ledger.summary(job.id).state is JobState.PENDING
    assert scene.ledger.close_jobs(after(1)) == []
    scene.run(job.id)
    assert scene.ledger.close_jobs(after(2)) == [job.id]
    summary = scene.ledger.summary(job.id)
    assert (summary.state, summary.expected, summary.verified, summary.bytes_stored) == (JobState.SUCCESS, 4, 4, 310)
    assert summary.record.ended_at == after(2)
    assert summary.started_at == NOW
    manifest = json.loads(json.dumps(scene.ledger.manifest(job.id)))
    assert next(task["digest"] for task in manifest["tasks"]) == digest(rows)
    assert [one["sopInstanceUID"] for one in manifest["tasks"][0]["instances"]] == sorted(
        r.sop_instance_uid for r in rows
    )
    assert manifest["tasks"][0]["attempts"][0]["outcome"] == "Success"
    assert "1003" not in json.dumps(manifest)
    assert [event.code for event in scene.ledger.events(first)] == ["Claimed", "Success"]
    assert scene.ledger.apply_job(scene.record().job, after(3)) is Applied.UNCHANGED


def test_counts_of_a_running_task_are_those_of_its_rows(scene: Scene) -> None:
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    worker.write(
        [
            row("1", InstanceState.EXPECTED),
            row("2", InstanceState.STORED, size=7),
            row("3", InstanceState.VERIFIED, size=5),
        ],
        Progress(),
        [],
        NOW,
    )
    worker.close()
    summary = scene.ledger.summary(job.id)
    assert (summary.expected, summary.received, summary.stored, summary.verified) == (3, 2, 2, 1)
    assert summary.bytes_stored == 12
    task = next(scene.ledger.tasks(job.id))
    assert (task.state, task.expected, task.verified) == (TaskState.IN_PROGRESS, 3, 1)
