"""The examples for a cluster are valid; that they do what they say is seen in tests/cluster/."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from adit.cli.patients import copy_patients
from adit.model.manifest_file import read
from adit.model.transfer_job import TransferJob
from tests.peers.helm import ROOT

EXAMPLES = ROOT / "examples"
RESOURCES = [EXAMPLES / "kubernetes" / name for name in ("nodes.yaml", "transferjob.yaml")]
RESOURCES += [EXAMPLES / "kustomize" / "base" / name for name in ("nodes.yaml", "job.yaml")]


@pytest.mark.parametrize("example", RESOURCES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_is_valid(example: Path) -> None:
    assert read(example.read_text(encoding="utf-8"), example.name)


def test_the_namespace_is_restricted() -> None:
    document = yaml.safe_load((EXAMPLES / "kubernetes" / "namespace.yaml").read_text())
    assert document["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_first_studies_are_among_the_samples(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("samples") / "patients"
    copy_patients(folder)
    held = b"".join(path.read_bytes()[:4096] for path in folder.iterdir())
    [job] = read((EXAMPLES / "kubernetes" / "transferjob.yaml").read_text(), "transferjob.yaml")
    assert isinstance(job, TransferJob)
    assert job.spec.selection.studies
    for study in job.spec.selection.studies:
        assert study.study_instance_uid.encode() in held
