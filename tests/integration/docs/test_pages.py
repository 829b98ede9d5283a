"""Every command of docs/ and every example does what the page says, on real PACSs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.docs.conftest import FIRST
from tests.integration.docs.reader import ROOT, Reader
from tests.peers.orthanc import Orthanc

IN_A_CLUSTER = ("kubernetes.md", "operations.md")
"""Followed on a real Kubernetes: tests/cluster/test_pages.py."""
PAGES = [
    ROOT / "README.md",
    *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / page for page in IN_A_CLUSTER}),
]
FOR_READING = (
    "docs/README.md",
    "docs/cli.md",
    "docs/conditions.md",
    "docs/faults.md",
    "docs/gitops.md",
    "docs/values.md",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_can_be_followed(reader: Callable[[], Reader], page: Path) -> None:
    follower = reader()
    follower.follow(page)
    assert follower.commands or str(page.relative_to(ROOT)) in FOR_READING


def test_examples_run(reader: Callable[[], Reader], pacss: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    follower = reader()
    for example in (ROOT / "examples").glob("*.yaml"):
        text = example.read_text(encoding="utf-8")
        for shown, real in follower.replacements.items():
            text = text.replace(shown, real)
        (tmp_path / example.name).write_text(text, encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n"
        "$ adit apply nodes.yaml night-pacs.yaml\n"
        "$ adit run study.yaml to-folder.yaml\n"
        "$ adit run series-for-trial.yaml || test $? = 3  # a series of it is there already: complete, with warnings\n"
        "$ adit run retry-failed.yaml\n"
        "$ (umask 077; mkdir -p secrets/stroke-key && head -c 32 /dev/urandom > secrets/stroke-key/key)\n"
        "$ export ADIT_SECRETS=secrets\n"
        "$ adit run deidentified.yaml\n"
        "```\n",
        encoding="utf-8",
    )
    follower.follow(page)
    assert len(list((tmp_path / "exports").rglob("*.dcm"))) == 4
    source, destination = pacss
    assert destination.instances_of(FIRST) == source.instances_of(FIRST)
    (copies,) = destination.find("Study", PatientID="STROKE-001")
    uid = copies["MainDicomTags"]["StudyInstanceUID"]
    assert uid.startswith("2.25.")
    assert len(destination.instances_of(uid)) == len(source.instances_of(FIRST))
