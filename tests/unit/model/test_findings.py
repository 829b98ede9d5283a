"""What is learnt of a node orders its roads for a while, and never grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adit.model.findings import AVOIDED, Findings, Road, is_probe_due, last_resorts, learned, observation
from adit.model.outcome import FaultCode

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BROKEN = {"WADO-RS": FaultCode.ASSOCIATION_ABORTED, "C-GET": None, "folder": None}


def test_a_road_that_failed_is_tried_last_for_an_hour_or_until_it_works() -> None:
    findings = learned(Findings(), observation("pacs", None, BROKEN), NOW)
    assert [(each.name, each.works, each.fault) for each in findings.roads] == [
        (Road.WADO, False, FaultCode.ASSOCIATION_ABORTED),
        (Road.GET, True, None),
    ]
    assert last_resorts(findings, NOW + AVOIDED - timedelta(seconds=1)) == (Road.WADO,)
    assert last_resorts(findings, NOW + AVOIDED) == ()
    mended = learned(findings, observation("pacs", None, {"WADO-RS": None}), NOW + timedelta(seconds=1))
    assert last_resorts(mended, NOW + timedelta(seconds=2)) == ()


def test_what_was_not_offered_is_a_last_resort_unless_it_worked() -> None:
    seen = observation("pacs", ("StudyRootGet", "Storage", "SomethingElse"), {"STOW-RS": None})
    findings = learned(Findings(), seen, NOW)
    assert findings.services == ("StudyRootGet", "Storage")
    assert last_resorts(findings, NOW + timedelta(days=9)) == (Road.WADO, Road.MOVE)


def test_the_same_again_is_not_news() -> None:
    seen = observation("pacs", None, BROKEN)
    findings = learned(Findings(), seen, NOW)
    assert learned(findings, seen, NOW + timedelta(minutes=9)) is findings
    assert learned(findings, seen, NOW + timedelta(minutes=10)) is not findings


def test_a_probe_is_due_once_a_day() -> None:
    assert is_probe_due(Findings(), NOW)
    findings = learned(Findings(), observation("pacs", ("Storage",), {}), NOW)
    assert not is_probe_due(findings, NOW + timedelta(hours=23))
    assert is_probe_due(findings, NOW + timedelta(hours=24))
