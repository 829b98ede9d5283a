"""The vocabulary of conditions: closed, documented, and apart from that of faults."""

from __future__ import annotations

from pathlib import Path

from adit.model.condition import ConditionReason, ConditionType
from adit.model.fault_meaning import MEANINGS, meaning
from adit.model.outcome import FaultCode

DOCS = Path(__file__).parents[3] / "docs"


def _rows(page: str) -> dict[str, list[str]]:
    """The cells behind the first of each table's rows, by the first."""
    found: dict[str, list[str]] = {}
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| code", "| type", "| reason", "| event", "| | ")):
            name, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            assert name not in found, f"{page}: {name} stands there twice"
            found[name] = cells
    return found


def test_reasons_and_fault_codes_share_no_word() -> None:
    assert not {str(each) for each in ConditionReason} & {str(each) for each in FaultCode}


def test_every_condition_and_reason_has_a_meaning_and_a_cure() -> None:
    sections = (DOCS / "conditions.md").read_text(encoding="utf-8").split("\n## ")
    types, reasons, events = (
        next(section for section in sections if section.startswith(title))
        for title in ("Conditions", "Reasons", "Events")
    )
    for section, words in ((types, set(map(str, ConditionType))), (reasons, set(map(str, ConditionReason)))):
        documented = [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in section.splitlines()
            if line.startswith("| ") and not line.startswith(("| type", "| reason"))
        ]
        assert {row[0] for row in documented} == words
        assert len(documented) == len(words)
        assert all(len(row) == 3 and all(row) for row in documented)
    assert events


def test_the_meanings_of_faults_are_those_of_the_page() -> None:
    """A status says them, as it may not say what a worker or a peer said. Add new ones to fault_meaning.py."""
    assert {str(code): text for code, text in MEANINGS.items()} == {
        code: cells[0] for code, cells in _rows("faults.md").items()
    }


def test_a_code_of_another_version_has_a_meaning_too() -> None:
    assert meaning("FromTheFuture") == "See docs/faults.md."
    assert all(len(meaning(code)) <= 256 for code in FaultCode)
