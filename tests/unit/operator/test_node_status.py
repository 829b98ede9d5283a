"""A DicomNode's status."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adit.model.condition import ConditionReason, ConditionType
from adit.model.findings import Findings, learned, observation
from adit.model.outcome import FaultCode
from adit_operator.conditions import condition
from adit_operator.node_status import NodeView, node_status
from adit_operator.problem import Problem
from tests.unit.dispatch.nouns import dimse_node, folder_node
from tests.unit.operator.status_schema import check
from tests.unit.operator.views import HOSTILE, NOW, PREVIOUS

PROBLEM = Problem(ConditionReason.INVALID, "spec.windows[0].timeZone: no such IANA time zone.", 2)


@given(
    st.integers(0, 2**53),
    st.booleans(),
    st.none() | st.builds(Problem, st.just(ConditionReason.INVALID), HOSTILE, st.integers(0, 9)),
    st.integers(0, 500),
    PREVIOUS,
)
@settings(deadline=None)
def test_a_status_is_always_sound(
    generation: int, known: bool, problem: Problem | None, active: int, previous: dict[str, Any] | None
) -> None:
    view = NodeView(generation, folder_node("disk") if known else None, problem, active)
    status = node_status(view, previous, NOW)
    if status is None:
        assert not known
        assert problem is None
        return
    check("DicomNode", status)
    assert [each["type"] for each in status["conditions"]][:2] == ["Accepted", "Ready"]


def test_an_invalid_change_leaves_the_node_in_use() -> None:
    status = node_status(NodeView(2, folder_node("disk"), PROBLEM), None, NOW)
    assert condition(status, ConditionType.ACCEPTED)["status"] == "False"
    assert condition(status, ConditionType.READY)["status"] == "True"
    assert status is not None
    assert status["observedGeneration"] == 2


def test_times_are_kept() -> None:
    first = node_status(NodeView(1, folder_node("disk"), None, 1), None, NOW)
    again = node_status(NodeView(1, folder_node("disk"), None, 2), first, NOW + timedelta(hours=1))
    assert first is not None
    assert again is not None
    assert again["conditions"] == first["conditions"]
    assert again["activeTasks"] == 2


def test_what_workers_found_is_told() -> None:
    roads = {"WADO-RS": FaultCode.NODE_TIMEOUT, "C-GET": None}
    findings = learned(Findings(), observation("pacs", ("StudyRootGet", "WADO-RS"), roads), NOW)
    status = node_status(NodeView(1, dimse_node("pacs"), None, 0, findings), None, NOW)
    assert status is not None
    check("DicomNode", status)
    assert status["services"] == ["StudyRootGet", "WADO-RS"]
    assert [(each["name"], each["works"], each.get("fault")) for each in status["roads"]] == [
        ("WADO-RS", False, "NodeTimeout"),
        ("C-GET", True, None),
    ]
    assert status["lastProbeTime"] == status["roads"][0]["time"]
