"""The examples for a cluster are valid; that they do what they say is seen in tests/cluster/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adit.cli.patients import copy_patients
from adit.model.manifest_file import read
from adit.model.transfer_job import TransferJob
from tests.peers.helm import CHART, ROOT, Helm

EXAMPLES = ROOT / "examples"
RESOURCES = [EXAMPLES / "kubernetes" / name for name in ("nodes.yaml", "transferjob.yaml")]
RESOURCES += [EXAMPLES / "kustomize" / "base" / name for name in ("nodes.yaml", "job.yaml")]


@pytest.mark.parametrize("example", RESOURCES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_is_valid(example: Path) -> None:
    assert read(example.read_text(encoding="utf-8"), example.name)


def test_the_namespace_is_restricted() -> None:
    document = yaml.safe_load((EXAMPLES / "kubernetes" / "namespace.yaml").read_text())
    assert document["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


LEFT_OUT_BY_ARGO = {
    "CertificateSigningRequest",
    "Endpoints",
    "EndpointSlice",
    "Lease",
    "LocalSubjectAccessReview",
    "SelfSubjectAccessReview",
    "SelfSubjectReview",
    "SelfSubjectRulesReview",
    "SubjectAccessReview",
    "TokenReview",
}
"""Of Kubernetes' own kinds: `resource.exclusions` in its default argocd-cm."""


def test_argo_cd_applies_all_of_the_chart_with_the_examples_values(each_helm: Helm) -> None:
    application = yaml.safe_load((EXAMPLES / "argocd" / "installation.yaml").read_text())
    source = application["spec"]["source"]
    assert ROOT / source["path"] == CHART
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert source["targetRevision"] == f"v{chart['version']}"
    values, where = source["helm"]["valuesObject"], application["spec"]["destination"]["namespace"]
    documents = each_helm.render(values, release=source["helm"]["releaseName"], namespace=where)
    kinds = {each["kind"] for each in documents}
    assert {"Deployment", "CustomResourceDefinition", "StatefulSet"} <= kinds
    assert kinds & LEFT_OUT_BY_ARGO == set()
    images = [
        container["image"]
        for each in documents
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    ]
    assert all(image.startswith(f"{values['image']['registry']}/") for image in images)


def test_the_lease_of_the_owner_is_the_charts_unless_told_otherwise(helm4: Helm) -> None:
    def leases(values: dict[str, Any]) -> list[str]:
        return [each["metadata"]["namespace"] for each in helm4.render(values) if each["kind"] == "Lease"]

    assert leases({"watchNamespaces": ["team-a", "team-b"]}) == ["team-a", "team-b"]
    assert leases({"watchNamespaces": ["team-a", "team-b"], "ownerLease": {"create": False}}) == []
    assert leases({"rbac": {"scope": "cluster"}}) == []


def test_the_first_studies_are_among_the_samples(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("samples") / "patients"
    copy_patients(folder)
    held = b"".join(path.read_bytes()[:4096] for path in folder.iterdir())
    [job] = read((EXAMPLES / "kubernetes" / "transferjob.yaml").read_text(), "transferjob.yaml")
    assert isinstance(job, TransferJob)
    assert job.spec.selection.studies
    for study in job.spec.selection.studies:
        assert study.study_instance_uid.encode() in held
