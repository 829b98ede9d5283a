"""What a cluster does to workers, and people to a cluster: nothing is lost, and the job says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adit.model.outcome import FaultCode
from adit.model.state import TaskState
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually
from tests.cluster.quota import limit
from tests.samples import Study, ct_study

pytestmark = pytest.mark.usefixtures("witnessed")


def slow_job(installation: Installation, study: Study, source: str, **spec: Any) -> Job:
    return installation.job(study.study_instance_uid, source={"node": source}, **spec)


def codes(job: Job) -> list[str]:
    """Of its tasks' events, oldest first."""
    ledger = job.installation.ledger
    return [event.code for task in ledger.tasks(job.id) for event in ledger.events(task.id)]


# --- workers ---


def test_a_job_deleted_by_hand_is_made_anew(installation: Installation, long_study: Study, slow_pacs: str) -> None:
    job = slow_job(installation, long_study, slow_pacs)
    job.wait_pod("Running")
    (one,) = job.jobs()
    installation.kubectl("delete", "job", one["metadata"]["name"], "--wait=false")
    job.wait("Complete")
    job.is_proven(long_study.study_instance_uid)


def test_an_evicted_worker_is_replaced(installation: Installation, long_study: Study, slow_pacs: str) -> None:
    job = slow_job(installation, long_study, slow_pacs)
    pod = job.wait_pod("Running")
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{installation.namespace}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    installation.kubectl("create", "--raw", path, "-f", "-", document=eviction)
    job.wait("Complete")
    job.is_proven(long_study.study_instance_uid)


def test_a_worker_that_is_too_small_gets_the_next_size(installation: Installation, many_studies: list[Study]) -> None:
    with installation.changed(worker={"sizeClasses": [size("tiny", "12Mi", up_to="1Gi"), size("large", "320Mi")]}):
        study = many_studies[0].study_instance_uid
        job = installation.job(study)
        job.wait("Complete")
        job.is_proven(study)
        assert FaultCode.OUT_OF_MEMORY in codes(job)
        assert [task.attempts for task in installation.ledger.tasks(job.id)] == [2]


def test_a_worker_that_outgrows_its_disk_gets_the_next_size(installation: Installation) -> None:
    """One object of 33 megabytes lies in the spool for a minute: longer than a kubelet takes to look."""
    big = ct_study(1, seed="cluster-big-object", size=4096, patient_id="Patient-8001-Zebra")
    installation.source.upload(*big.files())
    source = installation.node("slower-pacs", limits={"tasks": 1, "associations": 1, "bytesPerSecond": "500k"})
    classes = [size("tiny", "320Mi", up_to="1Gi", spool="1Mi"), size("large", "320Mi", spool="100Mi")]
    with installation.changed(worker={"sizeClasses": classes}):
        job = slow_job(installation, big, source)
        job.wait("Complete", 300)
        job.is_proven(big.study_instance_uid)
        assert FaultCode.OUT_OF_DISK in codes(job)
        assert [task.attempts for task in installation.ledger.tasks(job.id)] == [2]


def test_a_deadline_ends_the_worker_before_kubernetes_does(installation: Installation, long_study: Study) -> None:
    """A minute's work, half of the time for it: that includes a pod's start, which may take long on a busy node."""
    source = installation.node("slowest-pacs", limits={"tasks": 1, "associations": 1, "bytesPerSecond": "80k"})
    job = slow_job(installation, long_study, source, deadlineSeconds=30)
    job.wait("Failed")
    (task,) = installation.ledger.tasks(job.id)
    assert task.fault is not None
    assert task.fault.code is FaultCode.DEADLINE_EXCEEDED
    (one,) = job.jobs()
    reasons = {each["reason"] for each in one["status"].get("conditions", ())}
    assert "DeadlineExceeded" not in reasons  # Kubernetes' own
    assert 0 < task.stored < len(long_study.instances)


# --- the cluster ---


def test_a_quota_on_jobs_delays_and_is_told(installation: Installation, many_studies: list[Study]) -> None:
    limit(installation.kubectl, installation.namespace, "count/jobs.batch", 0)
    try:
        studies = [study.study_instance_uid for study in many_studies[:3]]
        job = installation.job(*studies)
        job.stalls(FaultCode.LAUNCH_REFUSED)
        assert job.jobs() == []
        limit(installation.kubectl, installation.namespace, "count/jobs.batch", 9)
        job.wait("Complete", 240)
        job.is_proven(*studies)
        assert all(task.attempts > 1 for task in installation.ledger.tasks(job.id))
    finally:
        installation.kubectl("delete", "quota", "few")


def test_a_quota_on_pods_delays_and_is_told(installation: Installation, many_studies: list[Study]) -> None:
    limit(installation.kubectl, installation.namespace, "pods", 0)
    try:
        study = many_studies[0].study_instance_uid
        job = installation.job(study)
        job.stalls(FaultCode.POD_REFUSED)
        installation.kubectl("delete", "quota", "few")
        job.wait("Complete", 240)
        job.is_proven(study)
    finally:
        installation.kubectl("delete", "quota", "few", "--ignore-not-found")


def test_a_foreign_job_of_our_name_is_left_alone(installation: Installation, many_studies: list[Study]) -> None:
    study = many_studies[0].study_instance_uid
    job = installation.job(study, suspend=True)
    eventually("its task is made", lambda: list(installation.ledger.tasks(job.id)))
    (task,) = installation.ledger.tasks(job.id)
    name = f"adit-{task.id}-1"
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [FOREIGN]}}},
    }
    installation.apply(foreign)
    uid = installation.get("job", name)["metadata"]["uid"]
    try:
        job.patch(suspend=None)
        job.wait("Complete")
        job.is_proven(study)
        assert installation.get("job", name)["metadata"]["uid"] == uid
        assert FaultCode.LAUNCH_REFUSED in codes(job)
    finally:
        installation.kubectl("delete", "job", name)


# --- resources that change or go away ---


def test_a_job_deleted_half_way_stops_and_its_record_stays(
    installation: Installation, long_study: Study, slow_pacs: str
) -> None:
    job = slow_job(installation, long_study, slow_pacs)
    job.wait_pod("Running")
    eventually("something has arrived", lambda: installation.ledger.summary(job.id).stored >= 3)
    installation.kubectl("delete", "transferjob", job.name)
    eventually("no worker is left", lambda: not job.pods() and not job.jobs(), 90)
    record = installation.ledger.job_by_id(job.id)
    assert record is not None
    assert record.deleted_at is not None
    eventually("it has ended", lambda: installation.ledger.job_by_id(job.id).ended_at, 30)  # type: ignore[union-attr]
    (task,) = installation.ledger.tasks(job.id)
    assert task.state is TaskState.CANCELED
    again = installation.job(long_study.study_instance_uid, name=job.name)  # the name is free
    again.wait("Failed")  # a warning: the destination held a part before
    assert again.condition("Failed")["reason"] == "EndedWithWarnings"


def test_what_runs_keeps_its_node_and_what_starts_later_sees_the_change(
    installation: Installation, long_study: Study, many_studies: list[Study], slow_pacs: str
) -> None:
    research = installation.node("moving-research")
    studies = [long_study.study_instance_uid, many_studies[0].study_instance_uid]
    job = installation.job(
        *studies, source={"node": slow_pacs}, destination={"node": research}, parallelism=1, retry={"maxAttempts": 1}
    )
    job.wait_pod("Running")
    eventually("something has arrived", lambda: installation.ledger.summary(job.id).stored >= 1)
    nowhere = {"aeTitle": "NOWHERE", "host": "127.0.0.1", "port": 9}
    installation.kubectl("patch", "dicomnode", research, "--type=merge", "-p", json.dumps({"spec": {"dimse": nowhere}}))
    job.wait("Failed")
    first, second = installation.ledger.tasks(job.id)
    assert first.state is TaskState.SUCCESS
    assert second.fault is not None
    assert second.fault.code is FaultCode.NODE_UNREACHABLE
    assert installation.destination.instances_of(studies[0]) == long_study.sop_instance_uids


def test_a_deleted_node_lets_what_runs_finish_and_starts_nothing_more(
    installation: Installation, long_study: Study, many_studies: list[Study], slow_pacs: str
) -> None:
    research = installation.node("vanishing-research")
    studies = [long_study.study_instance_uid, many_studies[0].study_instance_uid]
    job = installation.job(*studies, source={"node": slow_pacs}, destination={"node": research}, parallelism=1)
    job.wait_pod("Running")
    installation.kubectl("delete", "dicomnode", research)
    eventually("the first task is done", lambda: job.status.get("progress") == "1/2", 60)
    assert next(installation.ledger.tasks(job.id)).state is TaskState.SUCCESS
    job.stalls(FaultCode.NODE_NOT_FOUND, 90)
    installation.node("vanishing-research")
    job.wait("Complete")
    job.is_proven(*studies)


def test_a_namespace_deleted_with_a_running_job(installation: Installation, long_study: Study, slow_pacs: str) -> None:
    """Of the watched ones another than the release's own: its jobs stop, the operator goes on."""
    other = f"{installation.namespace}-b"
    installation.kubectl("create", "namespace", other)
    with installation.changed(watchNamespaces=[installation.namespace, other]):
        secret = installation.get("secret", f"{installation.release}-database")
        copied = {"apiVersion": "v1", "kind": "Secret", "data": secret["data"]}
        copied["metadata"] = {"name": secret["metadata"]["name"], "namespace": other}
        there = Installation(other, installation.release)
        there.apply(copied)
        for name in ("slow-pacs", "sandbox-research"):
            node = installation.get("dicomnode", name)
            there.apply({key: node[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": name}})
        job = slow_job(there, long_study, "slow-pacs")
        job.wait_pod("Running")
        installation.kubectl("delete", "namespace", other, "--wait=true")

        def ended() -> bool:
            record = installation.ledger.job_by_id(job.id)
            return record is not None and record.ended_at is not None and record.deleted_at is not None

        eventually("its record has ended", ended, 90)
        (pod,) = installation.running("operator")  # and the one that comes after it is not kept from leading
        installation.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=true")
        study = long_study.study_instance_uid
        installation.destination.delete_all()
        after = slow_job(installation, long_study, slow_pacs)
        after.wait("Complete")
        after.is_proven(study)


# --- means ---

FOREIGN = {
    "name": "mine",
    "image": "localhost/base:bookworm",
    "command": ["true"],
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def size(name: str, memory: str, *, up_to: str | None = None, spool: str = "64Mi") -> dict[str, Any]:
    requests = {"cpu": "10m", "memory": "8Mi", "ephemeral-storage": "16Mi"}
    made: dict[str, Any] = {"name": name, "spool": spool}
    made["resources"] = {"requests": requests, "limits": {"memory": memory, "ephemeral-storage": "1Gi"}}
    return made | ({} if up_to is None else {"upTo": up_to})
