"""Admission: what is seen, what is claimed, and that two dispatchers never take the same twice."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

from adit.ledger.admission import DUE_COUNTED
from adit.ledger.connection import engine, transaction
from adit.ledger.ledger import Ledger
from adit.ledger.records import Grant, Settlement, TaskSeed
from adit.model.assignment import Progress, Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import NOT_ASKED, InstanceState
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.resource import Resource
from adit.model.state import TaskState
from tests.integration.ledger.scene import (
    FAILURE,
    LEASE,
    NOW,
    SUCCESS,
    Scene,
    after,
    node,
    report,
    row,
    seeds,
    transfer_job,
)

AnyResource = TypeVar("AnyResource", bound=Resource)
STUDIES = [f"1.2.{number}" for number in range(20)]


def test_the_snapshot_shows_what_is_due_and_what_is_held(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES, owner="ann"))
    scene.claim(job.id, 2, associations=2, queries_per_second=2.5, bytes_per_second=1000)
    scene.claim(job.id, 1)
    with scene.ledger.admission(NOW) as admission:
        snapshot = admission.snapshot
    (candidate,) = snapshot.candidates
    assert (candidate.record.id, candidate.due, candidate.running) == (job.id, 17, 3)
    assert (candidate.source, candidate.destination) == (("default", "pacs"), ("default", "research"))
    assert (snapshot.total_running, snapshot.owner_running) == (3, {"ann": 3})
    for key in (candidate.source, candidate.destination):
        load = snapshot.nodes[key]
        assert (load.tasks, load.associations, load.queries_per_second, load.bytes_per_second) == (3, 5, 5.0, 2000)


def test_a_settled_attempt_holds_nothing(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES[:1]))
    assignment = scene.claim(job.id)[0]
    scene.attempt(assignment, [], report(Outcome.TRANSIENT_FAULT))
    with scene.ledger.admission(NOW) as admission:
        assert admission.snapshot.total_running == 1
        assert admission.snapshot.candidates == ()
    scene.ledger.settle(assignment.attempt_id, Settlement(TaskState.PENDING, not_before=after(10)), NOW)
    for now, due in ((after(9), 0), (after(10), 1)):
        with scene.ledger.admission(now) as admission:
            assert admission.snapshot.total_running == 0
            assert sum(candidate.due for candidate in admission.snapshot.candidates) == due


@pytest.mark.parametrize("spec", [{"suspend": True}, {"cancel": "Drain"}, {"deadlineSeconds": 1}])
def test_a_job_that_may_not_start_is_no_candidate(scene: Scene, spec: dict[str, Any]) -> None:
    scene.apply(transfer_job(**spec))
    with scene.ledger.admission(after(1)) as admission:
        assert admission.snapshot.candidates == ()


@pytest.mark.parametrize("spec", [{"suspend": True}, {"cancel": "Drain"}])
def test_a_change_between_look_and_claim_is_heeded(scene: Scene, spec: dict[str, Any]) -> None:
    job = scene.apply()
    with scene.ledger.admission(NOW) as admission:
        scene.ledger.apply_job(transfer_job(**spec), NOW)
        assert admission.claim([Grant(job.id, Share(), Share())], LEASE) == []


def test_an_assignment_is_frozen_whole(scene: Scene) -> None:
    job = scene.apply(transfer_job(trial={"protocolID": "STROKE"}, deadlineSeconds=60))
    assignment = scene.claim(job.id, associations=3)[0]
    assert (assignment.number, assignment.job_id, assignment.job_name) == (1, job.id, "ct")
    assert assignment.source.spec.dimse == node("pacs").spec.dimse
    assert (assignment.destination_share.associations, assignment.deadline) == (3, after(60))
    assert assignment.trial is not None
    assert (assignment.job_created_on, assignment.lease_seconds) == (NOW.date(), LEASE)
    scene.ledger.apply_node(node("pacs", tasks=1), NOW)
    worker = scene.worker(assignment)
    assert worker.begin("w", NOW) == assignment
    worker.close()


def test_the_longest_due_goes_first_and_a_retry_gets_the_next_number(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES[:3]))
    first = scene.claim(job.id)[0]
    assert first.study_instance_uid == STUDIES[0]
    scene.attempt(first, [], report(Outcome.TRANSIENT_FAULT))
    scene.ledger.settle(first.attempt_id, Settlement(TaskState.PENDING, not_before=after(5)), NOW)
    rest = scene.claim(job.id, 5, now=after(10))
    assert [claim.study_instance_uid for claim in rest] == [STUDIES[1], STUDIES[2], STUDIES[0]]
    assert [claim.number for claim in rest] == [1, 1, 2]
    assert len({claim.token for claim in [first, *rest]}) == 4


def test_a_claim_tells_what_earlier_attempts_learnt_of_the_size(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES[:1]))
    grant = [Grant(job.id, Share(), Share())]
    again = Settlement(TaskState.PENDING, not_before=NOW)
    for code in (FaultCode.OUT_OF_MEMORY, FaultCode.OUT_OF_DISK, FaultCode.EVICTED):
        assignment = scene.claim(job.id)[0]
        with closing(scene.worker(assignment)) as worker:
            worker.begin("worker", NOW)
            worker.write([], Progress(bytes_received=500), [], NOW)
        fault = Fault(code=code, message="Gone.")
        assert scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=fault, now=NOW)
        scene.ledger.settle(assignment.attempt_id, again, NOW)
    with scene.ledger.admission(NOW) as admission:
        (claim,) = admission.claim(grant, LEASE)
    assert (claim.outgrown, claim.known_bytes) == (2, 500)

    other = scene.apply(transfer_job("other", studies=STUDIES[:2]))
    with scene.ledger.admission(NOW) as admission:
        claims = admission.claim([Grant(other.id, Share(), Share())] * 2, LEASE)
    known = {claim.assignment.study_instance_uid: (claim.outgrown, claim.known_bytes) for claim in claims}
    assert known == {STUDIES[0]: (0, 500), STUDIES[1]: (0, 0)}


def test_what_was_stored_at_another_place_is_forgotten(scene: Scene) -> None:
    """A DicomNode edited between two attempts, as people do when an archive is full; limits are no other place."""
    job = scene.apply(transfer_job(studies=STUDIES[:1]))
    again = Settlement(TaskState.PENDING, not_before=NOW)
    partial = report(Outcome.PARTIAL)

    def known() -> list[tuple[str, InstanceState]]:
        assignment = scene.claim(job.id)[0]
        with closing(scene.worker(assignment)) as worker:
            rows = [(each.sop_instance_uid, each.state) for each in worker.instances()]
        scene.attempt(assignment, [row("1"), row("2", InstanceState.STORED)], partial)
        scene.ledger.settle(assignment.attempt_id, again, NOW)
        return rows

    stored = [("1", InstanceState.VERIFIED), ("2", InstanceState.STORED)]
    assert known() == []
    assert known() == stored
    scene.ledger.apply_node(node("research", tasks=2), NOW)
    assert known() == stored
    scene.ledger.apply_node(node("research", "another.example.org"), NOW)
    assert known() == [("1", InstanceState.EXPECTED), ("2", InstanceState.EXPECTED)]
    assert known() == stored
    task = next(scene.ledger.tasks(job.id))
    assert [event.attempt_number for event in scene.ledger.events(task.id) if event.code == "OtherPlace"] == [4]


TRIAL = {"protocolID": "STROKE", "protocolName": "Stroke CT"}


@pytest.mark.parametrize("spec", [{"trial": TRIAL}, {"source": {"node": "vna"}}], ids=["trial", "source"])
def test_one_study_goes_to_one_peer_in_one_form_at_a_time(scene: Scene, spec: dict[str, Any]) -> None:
    """Proven is there that a UID is present: under it the other form would pass for this one."""
    scene.ledger.apply_node(node("vna"), NOW)
    plain, same = scene.apply(transfer_job("plain")), scene.apply(transfer_job("same"))
    stamped, moved = scene.apply(transfer_job("stamped", **spec)), scene.apply(transfer_job("other", ["1.2.2"]))
    grants = [Grant(each.id, Share(), Share()) for each in (stamped, plain, same, moved)]
    with scene.ledger.admission(NOW) as admission:
        claims = {claim.assignment.job_name: claim.assignment for claim in admission.claim(grants, LEASE)}
    assert set(claims) in ({"plain", "same", "other"}, {"stamped", "other"})
    first = plain if "plain" in claims else stamped
    second = stamped if first is plain else plain
    assert scene.claim(second.id) == []
    with scene.ledger.admission(NOW) as admission:  # it takes no other job's turn meanwhile
        assert second.id not in {candidate.record.id for candidate in admission.snapshot.candidates}
    [waiting] = scene.ledger.tasks(second.id)
    assert waiting.message.startswith("Waits for job ")
    for name in set(claims) - {"other"}:
        scene.attempt(claims[name], [row("1")], report())
        assert scene.claim(second.id) == []
        scene.ledger.settle(claims[name].attempt_id, SUCCESS, NOW)
    assert len(scene.claim(second.id)) == 1


def in_lab(resource: AnyResource) -> AnyResource:
    metadata = resource.metadata.model_copy(update={"namespace": "lab"})
    return resource.model_copy(update={"metadata": metadata})


def test_a_job_of_another_namespace_is_waited_for_and_not_named(scene: Scene) -> None:
    assert len(scene.claim(scene.apply(transfer_job("plain")).id)) == 1
    for name in ("pacs", "research"):
        scene.ledger.apply_node(in_lab(node(name)), NOW)
    scene.ledger.apply_job(in_lab(transfer_job("stamped", trial=TRIAL)), NOW)
    stamped = scene.ledger.job(("lab", "stamped"))
    assert stamped is not None
    scene.ledger.expand(stamped.id, seeds(stamped.job), NOW)
    assert scene.claim(stamped.id) == []
    [waiting] = scene.ledger.tasks(stamped.id)
    assert waiting.message.startswith("Waits for a job of another namespace, ")


def test_a_worker_that_died_with_its_dispatcher_keeps_no_other_form_back(scene: Scene) -> None:
    """As when `adit run` was killed: nobody settles its attempt."""
    assert len(scene.claim(scene.apply(transfer_job("plain")).id)) == 1
    stamped = scene.apply(transfer_job("stamped", trial=TRIAL))
    assert scene.claim(stamped.id, now=after(60)) == []
    assert len(scene.claim(stamped.id, now=after(3600))) == 1


def test_what_another_job_sent_in_another_form_since_the_last_attempt_proves_nothing(scene: Scene) -> None:
    job = scene.apply(transfer_job("plain"))
    stored, again = [row("1"), row("2", InstanceState.EXPECTED)], Settlement(TaskState.PENDING, not_before=NOW)
    scene.run(job.id, again, stored, report(Outcome.PARTIAL))
    scene.run(scene.apply(transfer_job("same")).id)
    scene.run(job.id, again, stored, report(Outcome.PARTIAL))
    scene.run(scene.apply(transfer_job("stamped", trial=TRIAL)).id)
    assignment = scene.claim(job.id)[0]
    with closing(scene.worker(assignment)) as worker:
        rows = {each.sop_instance_uid: (each.state, each.dimse_status) for each in worker.instances()}
    assert rows == dict.fromkeys("12", (InstanceState.EXPECTED, NOT_ASKED))
    task = next(scene.ledger.tasks(job.id))
    assert [event.attempt_number for event in scene.ledger.events(task.id) if event.code == "OtherForm"] == [3]


def test_where_content_is_compared_every_form_may_go_at_once(scene: Scene, tmp_path: Path) -> None:
    jobs = [scene.apply(transfer_job("plain")), scene.apply(transfer_job("stamped", trial=TRIAL))]
    place = {"metadata": {"name": "research"}, "spec": {"folder": {"path": str(tmp_path)}}}
    scene.ledger.apply_node(DicomNode.model_validate(place), NOW)
    assert [len(scene.claim(job.id)) for job in jobs] == [1, 1]


def test_a_retry_of_a_job_forgets_what_was_stored_at_another_place(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES[:1]))
    scene.run(job.id, FAILURE, [row("1", InstanceState.STORED)], report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    scene.ledger.apply_job(transfer_job("again", selection={"failedOf": {"name": "ct"}}), NOW)
    retry = scene.record("again")
    scene.ledger.expand_failed_of(retry.id, job.id, NOW)
    scene.ledger.apply_node(node("research", "another.example.org"), NOW)
    with closing(scene.worker(scene.claim(retry.id)[0])) as worker:
        assert [each.state for each in worker.instances()] == [InstanceState.EXPECTED]


@pytest.mark.parametrize("between", ["plain", "stamped"])
def test_a_retry_of_a_job_forgets_what_another_sent_in_another_form_since(scene: Scene, between: str) -> None:
    job = scene.apply(transfer_job())
    scene.run(job.id, FAILURE, [row("1", InstanceState.STORED)], report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    other: dict[str, Any] = {"trial": TRIAL} if between == "stamped" else {}
    scene.run(scene.apply(transfer_job(between, **other)).id)
    scene.ledger.apply_job(transfer_job("again", selection={"failedOf": {"name": "ct"}}), NOW)
    retry = scene.record("again")
    scene.ledger.expand_failed_of(retry.id, job.id, NOW)
    with closing(scene.worker(scene.claim(retry.id)[0])) as worker:
        states = [each.state for each in worker.instances()]
    assert states == [InstanceState.STORED if between == "plain" else InstanceState.EXPECTED]


def test_a_missing_node_yields_no_claim(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    job = scene.record()

    scene.ledger.expand(job.id, seeds(job.job), NOW)
    assert scene.claim(job.id) == []


def test_what_asks_for_archives_goes_to_a_folder_or_nowhere(scene: Scene) -> None:
    """A node may be edited after the job was accepted: nothing goes in the open then."""
    to = {"node": "research", "archive": {"format": "Zip", "secretName": "recipient"}}
    job = scene.apply(transfer_job(destination=to))
    assert scene.claim(job.id) == []
    folder = {"metadata": {"name": "research"}, "spec": {"folder": {"path": "/srv/out"}}}
    scene.ledger.apply_node(DicomNode.model_validate(folder), NOW)
    [claimed] = scene.claim(job.id)
    assert claimed.destination.spec.secrets == {"recipient": ("password",)}
    assert claimed.destination.spec.place == "Zip in /srv/out"


def test_what_raises_inside_an_admission_claims_nothing(scene: Scene) -> None:
    job = scene.apply()
    with pytest.raises(KeyboardInterrupt), scene.ledger.admission(NOW) as admission:  # noqa: PT012 - the claim is the point
        assert len(admission.claim([Grant(job.id, Share(), Share())], LEASE)) == 1
        raise KeyboardInterrupt
    assert scene.ledger.running() == []
    assert next(scene.ledger.tasks(job.id)).attempts == 0


def test_a_task_that_someone_holds_is_skipped_not_waited_for(scene: Scene, ledger_url: str) -> None:
    job = scene.apply(transfer_job(studies=STUDIES[:2]))
    other = engine(ledger_url, connections=1)
    try:
        with transaction(other) as connection:
            held = connection.execute(text("SELECT id FROM task ORDER BY id LIMIT 1 FOR UPDATE")).scalar_one()
            claims = scene.claim(job.id, 2)
    finally:
        other.dispose()
    assert len(claims) == 1
    assert claims[0].task_id != held


def test_two_dispatchers_at_once_never_exceed_the_budget(scene: Scene, ledger_url: str) -> None:
    """Each of four dispatchers fills a node's budget of five as often as it can; it is never overbooked."""
    job = scene.apply(transfer_job(studies=STUDIES))
    most: list[int] = []
    claimed: list[int] = []

    def dispatch() -> None:
        source = engine(ledger_url)
        ledger = Ledger(source)
        for _ in range(5):
            with ledger.admission(NOW) as admission:
                room = 5 - admission.snapshot.total_running
                claims = admission.claim([Grant(job.id, Share(), Share())] * room, LEASE)
            claimed.extend(claim.assignment.task_id for claim in claims)
            most.append(len(ledger.running()))
            for claim in claims[:2]:
                scene.attempt(claim.assignment, [], report(Outcome.TRANSIENT_FAULT))
                ledger.settle(claim.assignment.attempt_id, Settlement(TaskState.FAILURE), NOW)
        source.dispose()

    threads = [threading.Thread(target=dispatch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert max(most) <= 5
    assert len(claimed) > 5
    assert len(claimed) == len(set(claimed))


def test_due_tasks_are_counted_only_up_to_a_bound(scene: Scene) -> None:

    scene.ledger.apply_job(transfer_job(), NOW)
    scene.ledger.expand(scene.record().id, [TaskSeed(f"1.{n}") for n in range(DUE_COUNTED + 100)], NOW)
    with scene.ledger.admission(NOW) as admission:
        assert [candidate.due for candidate in admission.snapshot.candidates] == [DUE_COUNTED]
