"""The worker's Job: what Kubernetes is told, and what it is never told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit_operator.job_manifest import WORKER_MARGIN, attempt_token, manifest
from adit_operator.worker_settings import InvalidWorkerSettings, WorkerSettings
from tests.unit.operator.claims import NOW, SETTINGS, claim

TWO_CLASSES = "image: x\ndatabase: {{secretName: a}}\nsizeClasses: [{first}, {{name: last}}]\n"


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(pod_of(job)["containers"][0])


def environment_of(job: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container_of(job)["env"]}


def test_nothing_about_the_patient_and_no_secret_gets_into_the_cluster() -> None:
    text = json.dumps(manifest(claim(secret="pacs-tls"), SETTINGS, NOW))
    for hidden in ("PATIENT-4711", "1.2.840.777", "postgres"):
        assert hidden not in text
    job = manifest(claim(), SETTINGS, NOW)
    assert "ADIT_DATABASE_URL" not in environment_of(job)
    assert [each["name"] for each in container_of(job)["env"] if "valueFrom" in each] == ["ADIT_RELAY_HOST"]
    assert environment_of(job)["ADIT_RELAY_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    (volume,) = [each for each in pod_of(job)["volumes"] if each["name"] == "credentials"]
    (source,) = volume["projected"]["sources"]
    assert source["secret"]["name"] == "adit-database"
    assert source["secret"]["items"] == [{"key": "worker-database-url", "path": "ADIT_DATABASE_URL"}]
    assert environment_of(job)["ADIT_CREDENTIALS"] == "/var/run/adit/credentials"


def test_the_name_is_that_of_the_attempt_and_the_token_tells_whose_it_is() -> None:
    job = manifest(claim(), SETTINGS, NOW)
    assert job["metadata"]["name"] == "adit-12-3"
    assert attempt_token(job) == str(UUID(int=5))
    assert attempt_token({"spec": {"template": {"spec": {"containers": [{"name": "mine"}]}}}}) is None
    assert attempt_token({"metadata": {}}) is None


def test_a_pod_gets_the_secrets_of_its_nodes_and_no_others() -> None:
    assert "secrets" not in [each["name"] for each in pod_of(manifest(claim(), SETTINGS, NOW))["volumes"]]
    job = manifest(claim(secret="pacs-tls"), SETTINGS, NOW)
    (volume,) = [each for each in pod_of(job)["volumes"] if each["name"] == "secrets"]
    sources = volume["projected"]["sources"]
    assert [source["secret"]["name"] for source in sources] == ["pacs-tls"]
    assert environment_of(job)["ADIT_SECRETS"] == "/var/run/adit/secrets"


def test_a_pod_gets_the_key_of_its_profile_and_nothing_of_the_profile_itself() -> None:
    spec = {"key": {"secretName": "stroke-key"}, "overrides": [{"keyword": "PatientSex", "action": "Keep"}]}
    profile = DeidProfile.model_validate({"metadata": {"name": "research"}, "spec": spec})
    job = manifest(claim(secret="pacs-tls", profile=profile, pseudonym="STROKE-001"), SETTINGS, NOW)
    (volume,) = [each for each in pod_of(job)["volumes"] if each["name"] == "secrets"]
    projected = {source["secret"]["name"]: source["secret"] for source in volume["projected"]["sources"]}
    assert list(projected) == ["pacs-tls", "stroke-key"]
    assert projected["stroke-key"]["items"] == [{"key": "key", "path": "stroke-key/key"}]
    assert projected["stroke-key"]["optional"] is True  # the worker says that it is missing, and whose it is
    assert environment_of(job)["ADIT_SECRETS"] == "/var/run/adit/secrets"
    for hidden in ("STROKE-001", "PatientSex", "research-"):
        assert hidden not in json.dumps(job)


def test_a_pod_gets_the_credentials_of_a_web_server_and_only_the_keys_that_are_used() -> None:
    who = {"credentials": {"secretName": "archive", "scheme": "Basic"}, "tls": {"secretName": "archive"}}
    archive = {"dicomWeb": {"url": "https://archive.example.org", **who}}
    destination = DicomNode.model_validate({"metadata": {"name": "archive"}, "spec": archive})
    job = manifest(claim(secret="pacs-tls", destination=destination), SETTINGS, NOW)
    (volume,) = [each for each in pod_of(job)["volumes"] if each["name"] == "secrets"]
    projected = {source["secret"]["name"]: source["secret"]["items"] for source in volume["projected"]["sources"]}
    assert list(projected) == ["archive", "pacs-tls"]
    assert projected["archive"] == [
        {"key": key, "path": f"archive/{key}"} for key in ("ca.crt", "password", "tls.crt", "tls.key", "username")
    ]
    assert [item["key"] for item in projected["pacs-tls"]] == ["ca.crt", "tls.crt", "tls.key"]


def test_a_pod_gets_a_buckets_access_key_and_only_what_is_needed_of_each_secret() -> None:
    """As the worker expects it: one folder a Secret, one file a key."""
    spec = {"bucket": "lake", "credentials": {"secretName": "lake"}, "tls": {"secretName": "shared"}}
    lake = DicomNode.model_validate({"metadata": {"name": "lake"}, "spec": {"s3": spec}})
    (volume,) = [
        each
        for each in pod_of(manifest(claim(secret="shared", destination=lake), SETTINGS, NOW))["volumes"]
        if each["name"] == "secrets"
    ]
    projected = {
        source["secret"]["name"]: [item["path"] for item in source["secret"]["items"]]
        for source in volume["projected"]["sources"]
    }
    assert projected == {
        "lake": ["lake/AWS_ACCESS_KEY_ID", "lake/AWS_SECRET_ACCESS_KEY", "lake/AWS_SESSION_TOKEN"],
        "shared": ["shared/ca.crt", "shared/tls.crt", "shared/tls.key"],
    }
    assert all(source["secret"]["optional"] for source in volume["projected"]["sources"])


def test_a_pod_gets_the_password_of_its_archives_and_nothing_tells_it() -> None:
    place = {"path": "/exports", "archive": {"format": "SevenZip", "secretName": "archives"}}
    exports = DicomNode.model_validate({"metadata": {"name": "exports"}, "spec": {"folder": place}})
    job = manifest(claim(secret="pacs-tls", destination=exports), SETTINGS, NOW)
    (volume,) = [each for each in pod_of(job)["volumes"] if each["name"] == "secrets"]
    projected = {source["secret"]["name"]: source["secret"] for source in volume["projected"]["sources"]}
    assert list(projected) == ["archives", "pacs-tls"]
    assert projected["archives"]["items"] == [{"key": "password", "path": "archives/password"}]
    assert "archives" not in json.dumps(pod_of(job)["containers"])  # neither an argument nor a variable


def test_one_secret_may_hold_it_all() -> None:
    spec = {"bucket": "lake", "credentials": {"secretName": "all"}, "tls": {"secretName": "all"}}
    lake = DicomNode.model_validate({"metadata": {"name": "lake"}, "spec": {"s3": spec}})
    pod = pod_of(manifest(claim(destination=lake), SETTINGS, NOW))
    (volume,) = [each for each in pod["volumes"] if each["name"] == "secrets"]
    (source,) = volume["projected"]["sources"]
    assert len(source["secret"]["items"]) == 6


def test_a_bucket_with_an_ambient_identity_needs_no_secret() -> None:
    lake = DicomNode.model_validate({"metadata": {"name": "lake"}, "spec": {"s3": {"bucket": "lake"}}})
    assert "ADIT_SECRETS" not in environment_of(manifest(claim(destination=lake), SETTINGS, NOW))


def test_what_a_killed_worker_left_on_its_disk_is_no_other_attempts_and_goes_with_the_pod() -> None:
    job = manifest(claim(), SETTINGS, NOW)
    assert (job["spec"]["backoffLimit"], pod_of(job)["restartPolicy"]) == (0, "Never")
    assert all("emptyDir" in each or "projected" in each for each in pod_of(job)["volumes"])
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_the_settings_labels_never_replace_ours() -> None:
    labels = manifest(claim(), SETTINGS, NOW)["spec"]["template"]["metadata"]["labels"]
    assert (labels["team"], labels["adit.dev/attempt"]) == ("imaging", "71")


@pytest.mark.parametrize(
    ("known_bytes", "outgrown", "limit"),
    [(0, 0, "300Mi"), (2**30, 0, "300Mi"), (2**30 + 1, 0, "900Mi"), (0, 1, "900Mi"), (0, 7, "900Mi")],
)
def test_a_worker_gets_the_room_that_the_study_needs(known_bytes: int, outgrown: int, limit: str) -> None:
    job = manifest(claim(known_bytes=known_bytes, outgrown=outgrown), SETTINGS, NOW)
    assert container_of(job)["resources"]["limits"]["memory"] == limit


@given(seconds=st.one_of(st.none(), st.integers(-100, 10**7)))
def test_the_workers_deadline_comes_before_the_pods_and_that_before_the_jobs(seconds: int | None) -> None:
    deadline = None if seconds is None else NOW + timedelta(seconds=seconds)
    job = manifest(claim(deadline=deadline), SETTINGS, NOW)
    worker = int(environment_of(job)["ADIT_ATTEMPT_SECONDS"])
    assert worker >= 1
    assert pod_of(job)["activeDeadlineSeconds"] == SETTINGS.start_seconds + worker + WORKER_MARGIN
    assert job["spec"]["activeDeadlineSeconds"] > pod_of(job)["activeDeadlineSeconds"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("image: x\n", "database"),
        ("image: x\ndatabase: {secretName: a}\nimagePullPolicy: Sometimes\n", "imagePullPolicy"),
        ("image: x\ndatabase: {secretName: a}\nnonsense: 1\n", "nonsense"),
        (TWO_CLASSES.format(first="{name: a}"), "upTo"),
        (TWO_CLASSES.format(first="{name: a, upTo: 2Gi}, {name: b, upTo: 1Gi}"), "ascend"),
        ("{", "YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "workers.yaml"
    path.write_text(text)
    with pytest.raises(InvalidWorkerSettings, match=field):
        WorkerSettings.read(path)
