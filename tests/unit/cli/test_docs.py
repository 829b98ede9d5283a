"""What docs/ and examples/ say is what the code is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adit.deid.pixels.quarantine import PixelReason
from adit.deid.quarantine import Reason
from adit.model.manifest_file import read
from adit.model.outcome import INFRASTRUCTURE_FAULTS, OUTCOME_OF_FAULT, UNSTARTED_FAULTS, WARNINGS, FaultCode, Outcome
from tests.integration.docs.fenced import blocks

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def test_made_pages_are_up_to_date(tmp_path: Path) -> None:
    copy = shutil.copytree(DOCS, tmp_path / "docs")
    subprocess.run([sys.executable, "-m", "adit.cli.reference", str(copy)], check=True)
    for page in DOCS.glob("*.md"):
        assert (copy / page.name).read_text() == page.read_text(), "run: python -m adit.cli.reference"


def _faults() -> dict[str, tuple[str, str, str]]:
    """Section, meaning and cure by code."""
    found: dict[str, tuple[str, str, str]] = {}
    section = ""
    for line in (DOCS / "faults.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| code"):
            code, meaning, cure = (cell.strip() for cell in line.strip("|").split(" | "))
            assert code not in found
            found[code] = (section, meaning, cure)
    return found


def test_every_fault_has_a_meaning_and_a_cure() -> None:
    documented = _faults()
    assert set(documented) == {str(code) for code in FaultCode}
    assert all(meaning and cure for _, meaning, cure in documented.values())


SECTIONS = {
    Outcome.TRANSIENT_FAULT: "Retried: a later attempt may well succeed",
    Outcome.PARTIAL: "Retried, and never a success: the source gave less than it announced",
    Outcome.EMPTY: "Retried, and never a success: the source gave less than it announced",
    Outcome.PERMANENT_DATA_FAULT: "Failed at once: the data",
    Outcome.PERMANENT_CONFIGURATION_FAULT: "Failed at once: the configuration",
    Outcome.DEADLINE: "Ended",
    Outcome.CANCELLED: "Ended",
    Outcome.BUG: "Ended",
}


@pytest.mark.parametrize("code", FaultCode)
def test_a_fault_stands_where_its_outcome_belongs(code: FaultCode) -> None:
    section, _, _ = _faults()[code]
    if code in (INFRASTRUCTURE_FAULTS | UNSTARTED_FAULTS) - {FaultCode.LOST, FaultCode.INTERRUPTED}:
        assert section == "Retried: the cluster where the worker ran"
    elif code in WARNINGS:
        assert section == "Warnings: complete, but someone should look"
    else:
        assert section == SECTIONS[OUTCOME_OF_FAULT[code]]


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid_and_say_what_they_are(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert read(text, example.name)
    assert text.startswith("# ")


def test_the_readme_shows_the_five_commands_that_the_cluster_tests_follow() -> None:
    shown = next(block for block in blocks(ROOT / "README.md") if "helm install" in block.text)
    followed = next(block for block in blocks(DOCS / "kubernetes.md") if block.language == "console")
    commands = [command for command, _ in followed.commands()]
    assert shown.text.splitlines() == commands
    assert len(commands) == 5


def test_links_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"


def test_an_upgrade_gives_back_no_value_to_its_default() -> None:
    """Helm forgets what was set before unless it is told to keep it, or given all of it again."""
    upgrades = [
        line
        for page in DOCS.glob("*.md")
        for line in page.read_text().splitlines()
        if "helm upgrade" in line and "charts/adit" in line
    ]
    assert upgrades
    assert [
        each for each in upgrades if "--reset-then-reuse-values" not in each and "-f production.yaml" not in each
    ] == []


def test_every_reason_of_a_refusal_is_explained() -> None:
    section = (DOCS / "deidentification.md").read_text(encoding="utf-8").partition("## Why an instance is refused")[2]
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    named = [word for row in rows[1:] for word in row.split(" | ")[0].strip("| ").split(", ")]
    assert sorted(named) == sorted({*map(str, Reason), *map(str, PixelReason)})
    assert all(len(row.split(" | ")) == 3 for row in rows)
