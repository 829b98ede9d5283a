"""The facade on a real API server, with the rights that the chart gives it and no operator: what it writes is there,
what is in git is left alone, and every refusal becomes a problem that repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from kubernetes.client.configuration import Configuration

from adit.ledger.ledger import Ledger
from adit.model.outcome import Fault, FaultCode
from adit.model.transfer_job import TransferJob
from adit_api import log
from adit_api.cluster_registry import ClusterRegistry, login
from adit_api.services import utc_now
from adit_api.settings import Settings
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.quota import limit
from tests.integration.api.running import Facade, running

CRDS = Path(__file__).parents[2] / "crds"
JOBS = "/v1/transferjobs"
RULES = [
    {"apiGroups": ["adit.dev"], "resources": ["transferjobs"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": ["adit.dev"], "resources": ["dicomnodes", "deidprofiles"], "verbs": ["get", "create", "patch"]},
]
ARGO = {"argocd.argoproj.io/tracking-id": "app:adit.dev/TransferJob:ns/ct"}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps"}
PATIENT = "PAT-4711-Zebra"


@pytest.fixture
def account(kubernetes: Kubernetes, namespace: str) -> Configuration:
    """A login with the facade's rights in the namespace, and no others."""
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    of_rbac = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    named = {"name": "facade", "namespace": namespace}
    subject = {"kind": "ServiceAccount", **named}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "facade"}
    kubernetes.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {**of_rbac, "kind": "Role", "metadata": named, "rules": RULES},
        {**of_rbac, "kind": "RoleBinding", "metadata": named, "subjects": [subject], "roleRef": reference},
    )
    token = kubernetes.kubectl("create", "token", "facade", "-n", namespace).strip()
    configuration = login()
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"BearerToken": token}
    configuration.api_key_prefix = {"BearerToken": "Bearer"}
    return configuration


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "facade.log"
    with path.open("w", encoding="utf-8", buffering=1) as file:
        log.configure("info", file)
        yield path
        structlog.reset_defaults()


@pytest.fixture
def facade(account: Configuration, ledger: Ledger, ledger_url: str, log_file: Path) -> Iterator[Facade]:
    registry = ClusterRegistry(account)
    with running(ledger, Settings(database_url=ledger_url), registry) as facade:
        yield facade
    registry.close()


@pytest.fixture
def admin(facade: Facade) -> str:
    return facade.token("admin", name="admin")


def body(namespace: str, name: str = "ct", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "source": {"node": "pacs"},
            "destination": {"node": "research"},
            "selection": {"studies": [{"studyInstanceUID": "1.2.1", "patientID": PATIENT}]},
            **spec,
        },
    }


def manifest(namespace: str, name: str = "ct", metadata: Any = None, **spec: Any) -> dict[str, Any]:
    document = body(namespace, name, **spec)
    document["metadata"] |= metadata or {}
    return {"apiVersion": "adit.dev/v1alpha1", "kind": "TransferJob", **document}


def test_a_posted_job_is_a_resource_that_names_nobody(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str, log_file: Path
) -> None:
    created = facade.call("POST", JOBS, admin, json=body(namespace))
    assert created.status_code == 201, created.text
    resource = kubernetes.get("transferjob", "ct", namespace)
    assert resource is not None
    (identity,) = resource["spec"]["selection"]["list"].values()
    assert facade.call("GET", f"/v1/selections/{namespace}/{identity}", admin).json()["size"] == 1
    shown = kubernetes.kubectl("get", "tj", "ct", "-n", namespace, "-o", "json", "--show-managed-fields")
    assert {each["manager"] for each in json.loads(shown)["metadata"]["managedFields"]} >= {"adit-api"}
    for text in (json.dumps(resource), created.text, log_file.read_text()):
        assert PATIENT not in text
        assert "1.2.1" not in text


def test_a_job_that_the_ledger_has_not_seen_is_told_as_pending(facade: Facade, admin: str, namespace: str) -> None:
    path = f"{JOBS}/{namespace}/ct"
    assert facade.call("GET", path, admin).status_code == 404
    facade.call("POST", JOBS, admin, json=body(namespace))
    shown = facade.call("GET", path, admin)
    assert (shown.status_code, shown.json()["state"]) == (200, "Pending")
    assert facade.call("GET", f"{path}/tasks", admin).json()["items"] == []
    early = facade.call("GET", f"{path}/manifest", admin)
    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    assert facade.call("POST", f"{path}/suspend", admin).json()["suspend"] is True


def test_a_job_made_anew_is_not_told_as_the_one_before(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    """Even before any operator has seen that the old one is gone."""
    path = f"{JOBS}/{namespace}/ct"
    old = facade.call("POST", JOBS, admin, json=body(namespace)).json()
    facade.ledger.apply_job(TransferJob.model_validate(kubernetes.get("transferjob", "ct", namespace)), utc_now())
    refusal = Fault(code=FaultCode.DEADLINE_EXCEEDED, message="It waited too long.")
    assert facade.ledger.refuse(UUID(old["uid"]), refusal, utc_now())
    kubernetes.kubectl("delete", "tj", "ct", "-n", namespace)
    new = facade.call("POST", JOBS, admin, json=body(namespace)).json()
    assert new["uid"] != old["uid"]
    for which in ({}, {"uid": new["uid"]}):
        shown = facade.call("GET", path, admin, params=which).json()
        assert (shown["uid"], shown["state"]) == (new["uid"], "Pending")
    before = facade.call("GET", path, admin, params={"uid": old["uid"]}).json()
    assert (before["state"], before["deletedAt"] is not None) == ("Failure", True)


def test_what_only_the_model_refuses_is_told_with_the_field(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    window = {"from": "20:00", "to": "06:00", "timeZone": "Europe/Nowhere"}
    odd = {"apiVersion": "adit.dev/v1alpha1", "kind": "DicomNode", "metadata": {"name": "odd"}}
    kubernetes.kubectl(
        "apply", "-n", namespace, "-f", "-", document={**odd, "spec": {**PACS["spec"], "windows": [window]}}
    )
    shown = facade.call("GET", f"/v1/dicomnodes/{namespace}/odd", admin)
    assert (shown.status_code, shown.json()["type"]) == (422, "urn:adit:problem:refused-by-cluster")
    assert "spec.windows[0].timeZone" in shown.json()["detail"]


def test_the_ledgers_view_has_the_resources_uid(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    facade.call("POST", JOBS, admin, json=body(namespace))
    resource = kubernetes.get("transferjob", "ct", namespace)
    assert resource is not None
    facade.ledger.apply_job(TransferJob.model_validate(resource), utc_now())  # as the operator does
    shown = facade.call("GET", f"{JOBS}/{namespace}/ct", admin).json()
    assert shown["uid"] == resource["metadata"]["uid"]
    cancelled = facade.call("POST", f"{JOBS}/{namespace}/ct/cancel", admin, json={"mode": "Drain"})
    assert cancelled.json()["cancel"] == "Drain"  # the resource's, before the ledger knows


def test_a_job_is_steered_by_one_field(facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str) -> None:
    path = f"{JOBS}/{namespace}/ct"
    facade.call("POST", JOBS, admin, json=body(namespace))

    def spec() -> Any:
        resource = kubernetes.get("transferjob", "ct", namespace)
        assert resource is not None
        return resource["spec"]

    before = spec()
    facade.call("POST", f"{path}/suspend", admin)
    assert spec() == {**before, "suspend": True}
    facade.call("POST", f"{path}/resume", admin)
    assert spec() == before
    assert facade.call("POST", f"{path}/cancel", admin, json={}).status_code == 200
    back = facade.call("POST", f"{path}/cancel", admin, json={"mode": "Drain"})
    assert (back.status_code, back.json()["type"]) == (409, "urn:adit:problem:conflict")
    assert spec() == {**before, "cancel": "Terminate"}
    assert facade.call("POST", f"{JOBS}/{namespace}/nobody/suspend", admin).status_code == 404


def test_a_name_is_used_once(facade: Facade, admin: str, namespace: str) -> None:
    assert facade.call("POST", JOBS, admin, json=body(namespace)).status_code == 201
    again = facade.call("POST", JOBS, admin, json=body(namespace, priority="High"))
    assert (again.status_code, again.json()["type"]) == (409, "urn:adit:problem:exists")


@pytest.mark.parametrize("metadata", [{"annotations": ARGO}, {"labels": FLUX}], ids=["Argo CD", "Flux"])
@pytest.mark.parametrize("road", ["server-side", "client-side"])
def test_fields_in_git_are_left_alone_and_others_are_not(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str, metadata: Any, road: str
) -> None:
    manager = "argocd-controller" if "annotations" in metadata else "kustomize-controller"
    how = ["--server-side", "--field-manager", manager] if road == "server-side" else []
    for name, spec in (("kept", {"suspend": True}), ("free", {})):
        kubernetes.kubectl("apply", *how, "-f", "-", document=manifest(namespace, name, metadata, **spec))
    refused = facade.call("POST", f"{JOBS}/{namespace}/kept/resume", admin)
    assert refused.status_code == 409, refused.text
    assert refused.json()["type"] == "urn:adit:problem:kept-in-git"
    assert "Change it in git" in refused.json()["detail"]
    for steer in ("suspend", "resume", "suspend"):
        assert facade.call("POST", f"{JOBS}/{namespace}/free/{steer}", admin).status_code == 200
    assert facade.call("POST", f"{JOBS}/{namespace}/kept/cancel", admin, json={}).status_code == 200


def test_what_people_patch_is_not_taken_for_git(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    how = ["--server-side", "--field-manager", "argocd-controller"]
    kubernetes.kubectl("apply", *how, "-f", "-", document=manifest(namespace, metadata={"annotations": ARGO}))
    kubernetes.kubectl("patch", "tj", "ct", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    assert facade.call("POST", f"{JOBS}/{namespace}/ct/resume", admin).json()["suspend"] is False


PACS = {"spec": {"dimse": {"aeTitle": "PACS1", "host": "pacs.example.org", "port": 104}}}


def test_a_node_is_applied_unless_others_own_it(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    path = f"/v1/dicomnodes/{namespace}/pacs"
    assert facade.call("PUT", path, admin, json=PACS).status_code == 201
    assert facade.call("GET", path, admin).json()["spec"]["dimse"]["port"] == 104
    changed = {"spec": {**PACS["spec"], "limits": {"tasks": 2}}}
    assert facade.call("PUT", path, admin, json=changed).status_code == 200
    node = kubernetes.get("dicomnode", "pacs", namespace)
    assert node is not None
    assert node["spec"]["limits"]["tasks"] == 2
    theirs = {"apiVersion": "adit.dev/v1alpha1", "kind": "DicomNode", "metadata": {"name": "theirs"}, **PACS}
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", document=theirs)
    moved = {"spec": {"dimse": {**PACS["spec"]["dimse"], "port": 11112}}}
    refused = facade.call("PUT", f"/v1/dicomnodes/{namespace}/theirs", admin, json=moved)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:adit:problem:conflict")
    kept = theirs | {"metadata": {"name": "kept", "labels": FLUX}}
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", document=kept)
    refused = facade.call("PUT", f"/v1/dicomnodes/{namespace}/kept", admin, json=moved)
    assert refused.json()["type"] == "urn:adit:problem:kept-in-git"


def test_a_profile_is_applied_unless_others_own_it(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str
) -> None:
    basic: dict[str, Any] = {"spec": {"key": {"secretName": "study-key"}}}
    path = f"/v1/deidprofiles/{namespace}/basic"
    assert facade.call("PUT", path, admin, json=basic).status_code == 201
    assert facade.call("GET", path, admin).json()["spec"]["key"] == {"secretName": "study-key"}
    changed = {"spec": {**basic["spec"], "options": ["CleanDescriptors"]}}
    assert facade.call("PUT", path, admin, json=changed).status_code == 200
    profile = kubernetes.get("deidprofile", "basic", namespace)
    assert profile is not None
    assert profile["spec"]["options"] == ["CleanDescriptors"]
    theirs = {"apiVersion": "adit.dev/v1alpha1", "kind": "DeidProfile", "metadata": {"name": "theirs"}, **basic}
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", document=theirs)
    other = {"spec": {"key": {"secretName": "another-key"}}}
    refused = facade.call("PUT", f"/v1/deidprofiles/{namespace}/theirs", admin, json=other)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:adit:problem:conflict")


def test_refusals_of_the_cluster_are_problems(
    facade: Facade, admin: str, kubernetes: Kubernetes, namespace: str, log_file: Path
) -> None:
    foreign = facade.call("POST", JOBS, admin, json=body("kube-public"))  # no rights there
    assert (foreign.status_code, foreign.json()["type"]) == (403, "urn:adit:problem:refused-by-cluster")
    limit(kubernetes.kubectl, namespace, "count/transferjobs.adit.dev", 0)
    full = facade.call("POST", JOBS, admin, json=body(namespace, "one-too-many"))
    assert (full.status_code, full.json()["type"]) == (403, "urn:adit:problem:refused-by-cluster")
    assert PATIENT not in full.text + log_file.read_text()


def test_a_cluster_that_is_away_is_waited_for(
    account: Configuration, ledger: Ledger, ledger_url: str, namespace: str, log_file: Path
) -> None:
    account.host = "https://127.0.0.1:1"
    registry = ClusterRegistry(account)
    with running(ledger, Settings(database_url=ledger_url), registry) as facade:
        admin = facade.token("admin")
        away = facade.call("POST", JOBS, admin, json=body(namespace))
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert facade.call("GET", JOBS, admin).status_code == 200  # what the ledger knows is told
    registry.close()
