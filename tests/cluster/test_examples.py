"""Every file of examples/ is taken by a real API server, as it stands and by kubectl's own Kustomize.

Argo CD and Flux are not there: of their kinds the server knows only that they exist, so it judges names, not fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.peers.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
OF_OTHERS = [
    ("argoproj.io", "v1alpha1", "Application", "applications"),
    ("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories"),
    ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With our CRDs and the namespaces that the examples speak of."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as started:
        started.apply(*(stranger(*each) for each in OF_OTHERS))
        started.add_our_kinds()
        for name in ("adit", "argocd", "flux-system"):
            started.kubectl("create", "namespace", name)
        yield started


def stranger(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [served],
        },
    }


def how(file: Path) -> tuple[str, str]:
    """A Kustomization is its folder's."""
    return ("-k", str(file.parent)) if file.name == "kustomization.yaml" else ("-f", str(file))


def test_the_api_server_takes_every_example(plane: ControlPlane, tmp_path: Path) -> None:
    files = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".yaml"}
    for file in files:
        namespace = () if "namespace: " in file.read_text() else ("-n", "adit")
        told = plane.kubectl("apply", "--dry-run=server", "--validate=strict", *how(file), *namespace)
        assert told.count("(server dry run)") == len(told.splitlines()) > 0, f"{file}: {told}"
    plane.kubectl("create", "-n", "argocd", "configmap", "argocd-cm")
    checks = EXAMPLES / "argocd" / "argocd-cm.yaml"
    plane.kubectl("patch", "-n", "argocd", "configmap", "argocd-cm", f"--patch-file={checks}")
    held = yaml.safe_load(plane.kubectl("get", "-n", "argocd", "configmap", "argocd-cm", "-o", "yaml"))["data"]
    assert held == yaml.safe_load(checks.read_text())["data"]

    misspelt = tmp_path / "misspelt.yaml"
    misspelt.write_text((EXAMPLES / "study.yaml").read_text().replace("studyInstanceUID", "studyUID"))
    assert not plane.allows("apply", "-n", "adit", "--dry-run=server", "--validate=strict", "-f", str(misspelt))
