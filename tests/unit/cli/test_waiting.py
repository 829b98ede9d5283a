from __future__ import annotations

from datetime import UTC, datetime

from adit.cli.waiting import closed
from adit.model.dicom_node import DicomNode
from tests.unit.model.specs import NODE, WINDOW, changed, resource


def node(name: str, *windows: dict[str, str]) -> DicomNode:
    document = resource("DicomNode", changed(NODE, {"windows": list(windows)}))
    return DicomNode.model_validate({**document, "metadata": {"name": name}})


def test_a_closed_window_is_told_by_its_own_clock() -> None:
    noon = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday
    night = node("night-pacs", {**WINDOW, "timeZone": "Europe/Berlin"})
    assert closed([node("always"), night], noon) == "the window of night-pacs opens Sun 20:00 Europe/Berlin"
    assert closed([night], datetime(2026, 11, 22, 19, 0, tzinfo=UTC)) == ""
