"""What concerns the whole node: its images, its room, and whether it takes pods. Nobody else may use it meanwhile."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from adit.ledger.connection import LedgerUnavailable
from adit.model.assignment import Report
from adit.model.outcome import EXIT_CONTRACT_MISMATCH, FaultCode, Outcome
from tests.cluster.attempts import attempts_of
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually, rig
from tests.cluster.processes import frozen_beyond_reach
from tests.cluster.witness import Witness
from tests.samples import Study

pytestmark = pytest.mark.usefixtures("witnessed")

SMALL = {"requests": {"cpu": "400m", "memory": "1Mi"}, "limits": {"memory": "320Mi"}}
"""A worker that needs much of the CPU, and uses more memory than it asked for."""


def test_a_missing_image_delays_and_is_told(installation: Installation, many_studies: list[Study]) -> None:
    later = "localhost/adit-worker:later"
    rig("ctr", "images", "rm", later)
    with installation.changed(worker={"image": {"tag": "later"}}):
        study = many_studies[0].study_instance_uid
        job = installation.job(study)
        job.stalls(FaultCode.IMAGE_UNAVAILABLE)
        rig("ctr", "images", "tag", "localhost/adit-worker:dev", later)
        job.wait("Complete", 180)
        job.is_proven(study)
    rig("ctr", "images", "rm", later)


def test_a_cordoned_node_delays_and_is_told(installation: Installation, many_studies: list[Study]) -> None:
    node = installation.get("nodes")[0]["metadata"]["name"]
    installation.kubectl("cordon", node)
    try:
        studies = [study.study_instance_uid for study in many_studies[:2]]
        job = installation.job(*studies)
        job.stalls(FaultCode.UNSCHEDULABLE)
    finally:
        installation.kubectl("uncordon", node)
    job.wait("Complete")
    job.is_proven(*studies)


def test_an_upgrade_of_the_operator_in_the_middle_of_a_job(
    installation: Installation, many_studies: list[Study], long_study: Study, witnessed: list[Witness]
) -> None:
    """One worker outlives the change, others begin after it; each task needs one attempt, each instance one store.

    The job is suspended meanwhile: on a quick machine nothing else would be left for the new operator to begin. The
    long study takes three minutes at its quarter of the budget: longer than a busy machine needs for the change.
    """
    rig("ctr", "images", "tag", "--force", "localhost/adit-operator:dev", "localhost/adit-operator:next")
    paced = installation.node("paced-pacs", limits={"tasks": 4, "associations": 4, "bytesPerSecond": "120k"})
    studies = [long_study, *many_studies[:20]]
    uids = [study.study_instance_uid for study in studies]
    job = installation.job(*uids, source={"node": paced}, parallelism=2)
    eventually("some are done, two at work", lambda: done(job) >= 3 and len(at_work(job)) == 2, 60)
    job.patch(suspend=True)
    eventually("it is suspended", lambda: job.condition("Suspended").get("status") == "True")
    before = at_work(job)
    assert done(job) < len(studies) - 1
    with installation.changed(operator={"image": {"tag": "next"}}):
        (pod,) = installation.running("operator")
        assert pod["spec"]["containers"][0]["image"] == "localhost/adit-operator:next"
        eventually("it leads", lambda: installation.leader() == pod["metadata"]["name"], 60)
        led_since = datetime.fromisoformat(installation.get("lease", "adit-operator")["spec"]["acquireTime"])
        assert at_work(job) & before
        job.patch(suspend=None)
        job.wait("Complete", 140)
    attempts = attempts_of(job)
    outlived = [each for each in attempts if each.begun_at < led_since < each.ended_at]
    assert {each.id for each in outlived} & before
    assert any(each.claimed_at > led_since for each in attempts)
    assert sorted(each.study_instance_uid for each in attempts) == sorted(uids)  # one each, and none of them lost
    assert {each.report["outcome"] for each in attempts} == {"Success"}
    job.is_proven(*uids)
    (witness,) = witnessed
    once = {uid: 1 for study in studies for uid in study.sop_instance_uids}
    eventually("the witness has counted them all", lambda: witness.stored == once)


def done(job: Job) -> int:
    return sum(each.ended_at is not None for each in attempts_of(job))


def at_work(job: Job) -> set[int]:
    return {each.id for each in attempts_of(job) if each.begun_at is not None and each.ended_at is None}


# --- workers that have to go, each with a study that takes a while ---


@pytest.fixture(scope="module")
def modest(release: Installation) -> Iterator[None]:
    """Workers are the first that have to go."""
    small = [{"name": "small", "resources": SMALL}]
    with release.changed(worker={"sizeClasses": small, "priorityClass": {"create": True}}):
        yield


@contextmanager
def half_way(installation: Installation, study: Study) -> Iterator[Job]:
    """A job of which something is stored already; in the end it is proven, whatever happened to its worker."""
    slow = installation.node("slowest-pacs", limits={"tasks": 1, "associations": 1, "bytesPerSecond": "120k"})
    job = installation.job(study.study_instance_uid, source={"node": slow})
    job.wait_pod("Running")
    eventually("something has arrived", lambda: installation.ledger.summary(job.id).stored >= 3)
    yield job
    job.wait("Complete", 240)
    job.is_proven(study.study_instance_uid)


@pytest.mark.usefixtures("modest")
def test_a_worker_evicted_for_the_nodes_memory_is_replaced(installation: Installation, long_study: Study) -> None:
    with half_way(installation, long_study) as job:
        rig("pressure", "memory")
        try:  # it takes the next pod ten seconds later
            eventually("a worker is evicted", lambda: any(_is_evicted(pod) for pod in job.pods()), 60)
        finally:
            rig("pressure", "none")
        eventually("all parts can be reached again", lambda: _answers(installation), 60)
        ended_by(job, FaultCode.EVICTED)


@pytest.mark.usefixtures("modest")
def test_a_preempted_worker_is_replaced(installation: Installation, long_study: Study) -> None:
    with half_way(installation, long_study) as job, preempting(installation):
        ended_by(job, FaultCode.PREEMPTED)


@pytest.mark.usefixtures("modest")
def test_a_worker_whose_node_went_away_is_replaced(installation: Installation, long_study: Study) -> None:
    """As the control plane sees it: a node that is not reachable any more gets such a taint."""
    node = installation.get("nodes")[0]["metadata"]["name"]
    with half_way(installation, long_study) as job:
        installation.kubectl("taint", "nodes", node, "adit.dev/test=gone:NoExecute")
        try:
            ended_by(job, FaultCode.MACHINE_LOST)
        finally:
            installation.kubectl("taint", "nodes", node, "adit.dev/test:NoExecute-")


@pytest.mark.usefixtures("modest")
def test_a_worker_that_comes_back_after_another_has_begun_changes_nothing(
    installation: Installation, long_study: Study
) -> None:
    """Its machine was away for longer than its lease, and neither it nor the cluster knew: it goes on where it was."""
    with half_way(installation, long_study) as job, frozen_beyond_reach(job.wait_pod("Running")) as late:
        eventually("another attempt has begun", lambda: len(begun(job)) == 2, 120)
        first = begun(job)[0]
        assert first.report["faults"][0]["code"] == FaultCode.LOST
        late.thaw_program()
        eventually("the late one has ended", lambda: late.exit_code is not None, 60)
        assert late.exit_code == EXIT_CONTRACT_MISMATCH  # fenced: it asked the ledger, and was told that it is over
        assert begun(job)[0] == first
    assert begun(job)[0] == first
    assert [each.report["outcome"] for each in begun(job)] == [Outcome.TRANSIENT_FAULT, Outcome.SUCCESS]
    assert [task.attempts for task in installation.ledger.tasks(job.id)] == [2]


def begun(job: Job) -> list[Any]:
    """The attempts whose workers have begun, the oldest first."""
    return sorted((each for each in attempts_of(job) if each.begun_at is not None), key=lambda each: each.id)


def _answers(installation: Installation) -> bool:
    """A kubelet that begins anew takes every pod for not ready at first, and no Service leads there."""
    try:
        installation.ledger.jobs(limit=1)
        return bool(installation.source.counts() and installation.destination.counts())
    except (LedgerUnavailable, OSError):
        return False


def _is_evicted(pod: Any) -> bool:
    return bool(pod["status"].get("reason") == "Evicted")


def ended_by(job: Job, code: FaultCode) -> None:
    """Waits until one of the job's attempts has ended for this reason."""
    ledger = job.installation.ledger

    def first() -> Report | None:
        """How the first attempt ended, once there is another: what its worker could not know is in it by then."""
        (task,) = ledger.tasks(job.id)
        attempts = ledger.attempts(task.id)
        return attempts[0].report if len(attempts) > 1 else None

    ended = eventually(f"a worker of {job.name} had to go", first, 90)
    assert ended.faults[0].code == code


@contextmanager
def preempting(installation: Installation) -> Iterator[None]:
    """Meanwhile somebody more important has room on the node only where a worker is."""
    (node,) = installation.get("nodes")
    everywhere = json.loads(installation.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    used = sum(cpu(each) for each in everywhere if each["status"].get("phase") == "Running")
    wanted = cpu_of(node["status"]["allocatable"]["cpu"]) - used + 0.2
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "important"},
        "spec": {
            "priorityClassName": "system-cluster-critical",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "pause",
                    "image": "localhost/pause:3.10",
                    "resources": {"requests": {"cpu": f"{math.floor(wanted * 1000)}m"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    installation.apply(pod)
    try:
        yield
    finally:
        installation.kubectl("delete", "pod", "important", "--now")


def cpu(pod: Any) -> float:
    requests = (each.get("resources", {}).get("requests", {}) for each in pod["spec"]["containers"])
    return sum(cpu_of(each.get("cpu", "0")) for each in requests)


def cpu_of(quantity: str) -> float:
    """Cores."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
