"""The system as a whole: a TransferJob moves studies from one PACS to another, proven by the destination itself."""

from __future__ import annotations

import base64
import secrets

from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually
from tests.cluster.patient_scan import names_nobody
from tests.samples import Study
from tests.unit.model.specs import PROFILE, changed, resource


def test_a_job_moves_its_studies_and_says_so_in_one_line(installation: Installation, many_studies: list[Study]) -> None:
    studies = [study.study_instance_uid for study in many_studies[:3]]
    job = installation.job(*studies)
    job.wait("Complete")
    job.is_proven(*studies)
    line = installation.kubectl("get", "tj", job.name, "--no-headers").split()
    assert line[:3] == [job.name, "sandbox-research", "3/3"]
    assert "Success" in line
    described = installation.kubectl("describe", "tj", job.name)
    assert "Complete" in described
    assert job.condition("Complete")["observedGeneration"] == 1
    assert job.status["counts"]["succeeded"] == 3


def test_a_finished_job_is_applied_again_without_effect(installation: Installation, many_studies: list[Study]) -> None:
    job = installation.job(many_studies[0].study_instance_uid)
    job.wait("Complete")
    before = job.resource
    manifest = {key: before[key] for key in ("apiVersion", "kind", "spec")}
    manifest["metadata"] = {"name": job.name, "labels": {"touched": "yes"}}
    installation.apply(manifest)
    other = installation.job(many_studies[1].study_instance_uid)
    other.wait("Complete")  # the operator has seen everything by now
    assert job.resource["status"] == before["status"]
    assert [each["metadata"]["name"] for each in job.jobs()] in ([], [f"adit-{_task(job)}-1"])


def test_a_suspended_job_waits_and_goes_on(installation: Installation, many_studies: list[Study]) -> None:
    studies = [study.study_instance_uid for study in many_studies[:6]]
    job = installation.job(*studies, suspend=True)
    eventually("it is suspended", lambda: job.condition("Suspended").get("status") == "True")
    assert job.jobs() == []
    job.patch(suspend=None)
    job.wait("Complete")
    job.is_proven(*studies)


def test_what_failed_can_be_retried_by_a_new_job(installation: Installation, many_studies: list[Study]) -> None:
    known = many_studies[0].study_instance_uid
    job = installation.job(known, "1.2.840.99999.1")
    job.wait("Failed")
    assert job.status["failures"][0]["code"] == "StudyNotFound"
    assert job.condition("Complete")["status"] == "False"
    retry = installation.job(name="again", selection={"failedOf": {"name": job.name}})
    retry.wait("Failed")
    assert retry.status["counts"]["total"] == 1


def test_cancelling_stops_the_work(installation: Installation, many_studies: list[Study]) -> None:
    studies = [study.study_instance_uid for study in many_studies[:40]]
    job = installation.job(*studies)
    job.wait_pod("Running")
    job.patch(cancel="Terminate")
    job.wait("Failed")
    assert job.condition("Failed")["reason"] == "Cancelled"
    eventually("no worker runs", lambda: all(pod["status"]["phase"] != "Running" for pod in job.pods()), 90)
    names_nobody(installation, many_studies[:10], "Zebra")


def test_nothing_that_we_write_into_the_cluster_names_a_patient(
    installation: Installation, many_studies: list[Study]
) -> None:
    """Of tasks that succeed, one with a warning that must not quote what it is about, and one that fails."""
    chosen = [*many_studies[:4], many_studies[9]]
    unknown, other = "1.2.840.99999.4711", "Patient-9999-Zebra"
    selection = [{"studyInstanceUID": study.study_instance_uid, "patientID": study.patient_id} for study in chosen]
    selection[-1]["patientID"] = other
    job = installation.job(name="scanned", selection={"studies": selection})
    job.wait("Failed")
    assert job.condition("Failed")["reason"] == "EndedWithWarnings"
    failed = installation.job(unknown, name="failed")
    failed.wait("Failed")
    assert failed.condition("Failed")["reason"] == "TasksFailed"
    names_nobody(installation, chosen, unknown, other, "Zebra")


def test_copies_leave_under_a_pseudonym_and_only_with_a_key(
    installation: Installation, many_studies: list[Study]
) -> None:
    original = many_studies[0]
    profile = resource("DeidProfile", changed(PROFILE, {"key.secretName": "study-key"}))
    profile["metadata"] = {"name": "copies"}
    installation.apply(profile)
    eventually("the profile is ready", lambda: _is_ready(installation, "copies"))
    installation.node("copies-research", accepts="Deidentified")
    selection = {"studies": [{"studyInstanceUID": original.study_instance_uid, "pseudonym": "Zebra-001"}]}
    asked = {"selection": selection, "destination": {"node": "copies-research"}}
    keyless = installation.job(name="keyless", deidentification={"profile": "copies"}, **asked)
    keyless.wait("Failed")
    assert keyless.status["failures"][0]["code"] == "SecretMissing"
    assert installation.destination.counts()["instances"] == 0

    key = base64.b64encode(secrets.token_bytes(32)).decode()
    installation.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "study-key"}, "data": {"key": key}})
    job = installation.job(name="copies", deidentification={"profile": "copies"}, **asked)
    job.wait("Complete")
    (copy,) = installation.destination.find("Study", PatientID="Zebra-001")
    uid = copy["MainDicomTags"]["StudyInstanceUID"]
    assert uid.startswith("2.25.")
    arrived = installation.destination.instances_of(uid)
    assert len(arrived) == len(original.instances)
    assert installation.destination.instances_of(original.study_instance_uid) == set()
    for instance in arrived:
        assert original.patient_id.encode() not in installation.destination.instance_file(instance)
    names_nobody(installation, [original], "Zebra-001", uid, *arrived)
    installation.kubectl("delete", "deidprofile/copies", "secret/study-key", "dicomnode/copies-research")


def _is_ready(installation: Installation, name: str) -> bool:
    conditions = installation.get("deidprofile", name).get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _task(job: Job) -> int:
    (task,) = job.installation.ledger.tasks(job.id)
    return task.id
