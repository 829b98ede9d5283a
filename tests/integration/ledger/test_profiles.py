"""DeidProfiles: applied like nodes, and frozen into a job with its first tasks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import text

from adit.ledger.attempt_ledger import AttemptLedger, Fenced
from adit.ledger.connection import LedgerError, engine, transaction
from adit.ledger.expansion import BATCH
from adit.ledger.records import Applied, TaskSeed
from adit.model.assignment import Assignment, Progress
from adit.model.deid_profile import DeidProfile, Option
from adit.model.instance import InstanceState
from adit.model.outcome import Outcome
from adit.model.treatment import TreatmentRecord
from tests.integration.ledger.cut_off import CutOff
from tests.integration.ledger.scene import FAILURE, NOW, Scene, after, node, report, row, transfer_job

BY_RESEARCH: dict[str, Any] = {"deidentification": {"profile": "research"}}
SEEDS = [TaskSeed(f"1.2.{number}", pseudonym=f"P{number}") for number in range(BATCH + 10)]


def profile(name: str = "research", uid: str | None = None, generation: int | None = None, **spec: Any) -> DeidProfile:
    metadata = {"name": name, "uid": uid, "generation": generation}
    return DeidProfile.model_validate({"metadata": metadata, "spec": {"key": {"secretName": "stroke-key"}, **spec}})


FIRST = profile()
EDITED = profile(options=["CleanDescriptors"])


def frozen(assignment: Assignment) -> DeidProfile:
    assert assignment.profile is not None
    return assignment.profile


def test_a_profile_is_created_then_unchanged_then_configured(scene: Scene) -> None:
    assert scene.ledger.apply_profile(FIRST, NOW) is Applied.CREATED
    assert scene.ledger.apply_profile(FIRST, NOW) is Applied.UNCHANGED
    assert scene.ledger.apply_profile(EDITED, NOW) is Applied.CONFIGURED
    assert scene.ledger.profile(("default", "research")) == EDITED
    assert scene.ledger.profile(("other", "research")) is None
    scene.ledger.apply_profile(profile("basic"), NOW)
    assert [each.metadata.name for each in scene.ledger.profiles()] == ["basic", "research"]
    assert scene.ledger.nodes() == []


def test_late_news_of_a_profile_change_nothing(scene: Scene) -> None:
    scene.ledger.apply_profile(profile(uid="a", generation=2, options=["CleanGraphics"]), NOW)
    assert scene.ledger.apply_profile(profile(uid="a", generation=1), after(1)) is Applied.UNCHANGED
    assert not scene.ledger.delete_profile(("default", "research"), "b")
    kept = scene.ledger.profile(("default", "research"))
    assert kept is not None
    assert kept.spec.options == (Option.CLEAN_GRAPHICS,)
    assert scene.ledger.delete_profile(("default", "research"), "a")
    assert not scene.ledger.delete_profile(("default", "research"))


def test_a_job_keeps_the_profile_of_its_first_tasks(scene: Scene) -> None:
    """Whatever becomes of the resource: in a crash between two batches, between attempts, for good."""
    scene.apply(transfer_job(selection={"list": {"name": "cohort"}}, **BY_RESEARCH))
    job_id = scene.record().id
    with pytest.raises(KeyboardInterrupt):
        scene.ledger.expand(job_id, CutOff(SEEDS, 1), NOW, FIRST)
    assert scene.record().has_profile
    first = scene.claim(job_id)[0]
    scene.ledger.expand(job_id, SEEDS, NOW, EDITED)
    scene.ledger.expand(job_id, SEEDS, NOW)
    late = scene.claim(job_id)[0]
    assert frozen(first) == frozen(late) == FIRST
    assert (first.pseudonym, late.pseudonym) == ("P0", "P1")
    worker = scene.worker(first)
    assert worker.begin("w", NOW) == first
    worker.close()
    proof: Any = scene.ledger.manifest(job_id)["job"]
    written = FIRST.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert proof["deidentification"] == {"profile": "research", "generation": None, "spec": written}


def test_no_task_starts_without_the_profile_that_its_job_names(scene: Scene) -> None:
    scene.apply(transfer_job(selection={"list": {"name": "cohort"}}, **BY_RESEARCH))
    job_id = scene.record().id
    with pytest.raises(KeyboardInterrupt):
        scene.ledger.expand(job_id, CutOff(SEEDS, 1), NOW)  # as only a defect would
    assert scene.claim(job_id) == []
    with pytest.raises(LedgerError):
        scene.ledger.expand(job_id, SEEDS, NOW)
    scene.ledger.expand(job_id, SEEDS, NOW, FIRST)
    assert frozen(scene.claim(job_id)[0]) == FIRST


def test_a_job_that_names_none_gets_none(scene: Scene) -> None:
    record = scene.apply(transfer_job())
    assert not record.has_profile
    assert scene.claim(record.id)[0].profile is None


@pytest.mark.parametrize(
    ("again_by", "brought"),
    [(FIRST, 1), (profile(uid="b", generation=7), 1), (EDITED, 0)],
    ids=["same", "touched", "edited"],
)
def test_what_a_failed_job_brought_counts_under_the_same_profile_only(
    scene: Scene, again_by: DeidProfile, brought: int
) -> None:
    for name in ("pacs", "research"):
        scene.ledger.apply_node(node(name), NOW)
    scene.ledger.apply_job(transfer_job("first", **BY_RESEARCH), NOW)
    failed = scene.record("first").id
    scene.ledger.expand(failed, [TaskSeed("1.2.1", "7")], NOW, FIRST)
    rows = [
        row("1.2.1.1.1", InstanceState.STORED, size=10, sha256="ab", sent_as="2.25.1"),
        row("1.2.1.1.2", InstanceState.EXPECTED),
    ]
    scene.run(failed, FAILURE, rows, report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    scene.ledger.apply_job(transfer_job("again", selection={"failedOf": {"name": "first"}}, **BY_RESEARCH), NOW)
    again = scene.record("again").id
    assert scene.ledger.expand_failed_of(again, failed, NOW, again_by) == 1
    assignment = scene.claim(again)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    assert len(worker.instances()) == brought
    worker.close()
    assert frozen(assignment) == again_by


def test_the_first_key_of_a_project_stays_its_key(scene: Scene) -> None:
    """Whatever job asks, and whichever profile it names; another project has its own."""

    def asked(name: str, claimed: str | None, of: DeidProfile = FIRST) -> str:
        scene.apply(transfer_job(name, selection={"list": {"name": "cohort"}}, **BY_RESEARCH))
        job_id = scene.record(name).id
        scene.ledger.expand(job_id, SEEDS[:1], NOW, of)
        [assignment] = scene.claim(job_id)
        worker = scene.worker(assignment)
        worker.begin("w", NOW)
        told = worker.project_key(claimed, NOW)
        worker.finish(report(), NOW)
        with pytest.raises(Fenced):
            worker.project_key("late", NOW)
        worker.close()
        assert scene.ledger.settle(assignment.attempt_id, FAILURE, NOW)
        return told

    assert asked("a", None) == ""
    assert asked("b", "one") == "one"
    assert asked("c", "two") == "one"
    assert asked("d", None, profile("other", project="research")) == "one"
    assert asked("e", "two", profile(project="other")) == "two"


def test_a_worker_without_a_profile_has_no_project(scene: Scene) -> None:
    worker = scene.worker(scene.claim(scene.apply(transfer_job()).id)[0])
    with pytest.raises(Fenced):
        worker.project_key("one", NOW)
    worker.close()


def test_a_ledger_of_before_learns_the_keys_of_its_projects(scene: Scene, ledger_url: str) -> None:
    """The last one of each: by that, those that are there were treated last."""

    def worker_of(name: str, seed: TaskSeed, key_id: str | None) -> AttemptLedger:
        scene.apply(transfer_job(name, selection={"list": {"name": "cohort"}}, **BY_RESEARCH))
        job_id = scene.record(name).id
        scene.ledger.expand(job_id, [seed], NOW, FIRST)
        worker = scene.worker(scene.claim(job_id)[0])
        worker.begin("w", NOW)
        if key_id is not None:
            treated = {"profile": "research", "project": "research", "edition": "2026d", "decision": "Treated"}
            worker.write([], Progress(), [], NOW, [TreatmentRecord.model_validate({**treated, "key_id": key_id})])
        return worker

    for name, seed, key_id in (("a", SEEDS[0], "first"), ("b", SEEDS[1], "last")):
        worker_of(name, seed, key_id).close()
    source = engine(ledger_url, connections=1)
    with transaction(source) as connection:
        connection.execute(text("DROP TABLE project_key"))
        connection.execute(text(import_module("adit.ledger.migrations.versions.0013_keys_of_projects").TABLE))
    source.dispose()
    worker = worker_of("c", SEEDS[2], None)
    assert worker.project_key("another", NOW) == "last"
    worker.close()
