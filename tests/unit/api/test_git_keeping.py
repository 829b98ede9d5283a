"""What is in git, by what the API server tells of a resource's fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adit_api.git_keeping import is_in_git, keeper


def test_who_keeps_it() -> None:
    assert keeper({"argocd.argoproj.io/tracking-id": "x"}, {}) == "Argo CD"
    assert keeper({}, {"kustomize.toolkit.fluxcd.io/name": "x"}) == "Flux"
    assert keeper({"kustomize.toolkit.fluxcd.io/name": "x"}, {"argocd.argoproj.io/tracking-id": "x"}) is None


def managed(manager: str, operation: str = "Apply", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:suspend": {}}}
    return {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": fields, **more}]}


LAST = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({}, True),  # nothing tells
        (managed("argocd-controller"), True),
        (managed("argocd-controller", "Update"), True),  # Argo CD's client-side apply
        (managed("kustomize-controller"), True),
        (managed("somebody"), True),
        (managed("adit-api", "Update"), False),
        (managed("kubectl-patch", "Update"), False),
        (managed("adit-operator", subresource="status"), False),
        ({"managedFields": [{"manager": "argocd-controller", "operation": "Apply"}]}, False),
        ({"annotations": {LAST: json.dumps({"spec": {"suspend": False}})}}, True),
        ({"annotations": {LAST: json.dumps({"spec": {}})}}, False),
        ({"annotations": {LAST: "{"}}, True),
        ({"annotations": {LAST: json.dumps({"spec": {}})}, **managed("argocd-controller")}, True),
    ],
)
def test_whether_a_field_is_in_git(metadata: dict[str, Any], kept: bool) -> None:
    assert is_in_git("suspend", metadata) is kept


def test_one_field_says_nothing_of_another() -> None:
    assert not is_in_git("cancel", managed("argocd-controller"))
