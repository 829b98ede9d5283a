"""The worker's last word is shown in a pod's status: short, and free of whatever a fault says about a study."""

from __future__ import annotations

import json
from pathlib import Path

from adit.model.assignment import Progress, Report
from adit.model.outcome import Fault, FaultCode, Outcome
from adit_worker import last_word

UID = "1.2.840.99999.1"


def fault(code: FaultCode) -> Fault:
    return Fault(code=code, message=f"about {UID}", cure="Look.", node="pacs", sop_instance_uid=UID)


def test_the_longest_word_is_short_and_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "word"
    faults = tuple(fault(code) for code in FaultCode)[:20]
    most = 2**63 - 1
    progress = Progress(
        expected=most, received=most, stored=most, verified=most, bytes_received=most, bytes_stored=most, road="C-GET"
    )
    report = Report(outcome=Outcome.PERMANENT_CONFIGURATION_FAULT, faults=faults, warnings=faults, progress=progress)
    last_word.leave(path, 2**63 - 1, ended="report-not-written", report=report)
    [line] = path.read_text().splitlines()
    assert len(line) < 2048
    assert UID not in line
    assert json.loads(line)["faults"] == [str(each.code) for each in faults]


def test_the_same_code_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "word"
    faults = (fault(FaultCode.INCOMPLETE), fault(FaultCode.NOT_PROVEN), fault(FaultCode.INCOMPLETE))
    last_word.leave(path, 1, report=Report(outcome=Outcome.PARTIAL, faults=faults))
    assert json.loads(path.read_text())["faults"] == ["Incomplete", "NotProven"]


def test_nowhere_to_write_is_no_fault(tmp_path: Path) -> None:
    last_word.leave(tmp_path / "missing" / "word", 1, ended="fenced")
    last_word.leave(None, 1, ended="fenced")
