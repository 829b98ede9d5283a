"""A DeidProfile's status."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adit.deid.profiles import ready
from adit.model.condition import ConditionReason, ConditionType
from adit.model.deid_profile import DeidProfile
from adit_operator.conditions import condition
from adit_operator.problem import Problem, unusable
from adit_operator.profile_status import ProfileView, profile_status
from tests.unit.operator.status_schema import check
from tests.unit.operator.views import HOSTILE, NOW, PREVIOUS

PROBLEM = Problem(ConditionReason.INVALID, "spec.overrides[0]: there is no attribute PatientNam.", 2)


def profile(*overrides: dict[str, str], **spec: Any) -> DeidProfile:
    given = {"key": {"secretName": "key"}, "overrides": overrides, **spec}
    return DeidProfile.model_validate({"metadata": {"name": "research"}, "spec": given})


@given(
    st.integers(0, 2**53),
    st.booleans(),
    st.none() | st.builds(Problem, st.just(ConditionReason.INVALID), HOSTILE, st.integers(0, 9)),
    PREVIOUS,
)
@settings(deadline=None, max_examples=50)
def test_a_status_is_always_sound(
    generation: int, known: bool, problem: Problem | None, previous: dict[str, Any] | None
) -> None:
    view = ProfileView(generation, ready("upstream") if known else None, problem)
    status = profile_status(view, previous, NOW)
    if status is None:
        assert not known
        assert problem is None
        return
    check("DeidProfile", status)
    assert [each["type"] for each in status["conditions"]][:2] == ["Accepted", "Ready"]


def test_what_is_kept_beyond_the_standard_is_easy_to_see() -> None:
    of_a_vendor = {"privateCreator": "SIEMENS MR HEADER", "element": "0019xx0C", "action": "Keep"}
    kept = profile({"keyword": "PatientName", "action": "Keep"}, of_a_vendor, {"tag": "00101040", "action": "Remove"})
    status = profile_status(ProfileView(1, kept), None, NOW)
    assert status is not None
    check("DeidProfile", status)
    assert status["keeps"] == ["PatientName", "SIEMENS MR HEADER 0019xx0C"]
    said = condition(status, ConditionType.ACCEPTED)
    assert said["status"] == "True"
    assert "Its overrides keep PatientName, SIEMENS MR HEADER 0019xx0C: copies do not claim" in said["message"]
    strict = profile_status(ProfileView(1, ready("basic")), None, NOW)
    assert condition(strict, ConditionType.ACCEPTED)["message"] == "The profile is known."


def test_a_hundred_kept_elements_leave_the_status_small() -> None:
    many = profile(*({"path": f"RequestAttributesSequence.{number:08X}", "action": "Keep"} for number in range(200)))
    status = profile_status(ProfileView(1, many), None, NOW)
    assert status is not None
    check("DeidProfile", status)
    assert len(status["keeps"]) == 20


def test_pixels_that_pass_unseen_are_told() -> None:
    status = profile_status(ProfileView(1, profile(pixels={"burnedInUnknown": "Pass"})), None, NOW)
    assert "burned into pixels passes" in condition(status, ConditionType.ACCEPTED)["message"]


def test_an_invalid_change_leaves_the_profile_in_use() -> None:
    status = profile_status(ProfileView(2, ready("basic"), PROBLEM), None, NOW)
    assert condition(status, ConditionType.ACCEPTED)["status"] == "False"
    assert condition(status, ConditionType.READY)["status"] == "True"
    assert status is not None
    assert status["observedGeneration"] == 2


def test_what_only_the_dictionary_knows_is_found_wrong() -> None:
    for override, told in (
        ({"keyword": "PatientNam", "action": "Keep"}, "there is no attribute PatientNam in PS3.6"),
        ({"tag": "00191001", "action": "Keep"}, "privateCreator"),
        ({"keyword": "PixelData", "action": "Remove"}, "cannot be overridden"),
    ):
        problem = unusable(profile(override), 3)
        assert problem is not None
        assert (problem.reason, problem.generation) == (ConditionReason.INVALID, 3)
        assert problem.message.startswith("spec.overrides[0]: ")
        assert told in problem.message
    assert unusable(ready("research"), 1) is None
