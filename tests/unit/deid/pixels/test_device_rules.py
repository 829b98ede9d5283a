"""Which instances a device rule fits, and what the model refuses to be told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adit.deid.pixels.rule_match import fits
from adit.model.pixel_policy import PixelAttribute, PixelCondition, PixelPolicy

TEXTS = {
    PixelAttribute.MANUFACTURER: ("ACME Medical",),
    PixelAttribute.IMAGE_TYPE: ("DERIVED", "SECONDARY", "SCREEN SAVE"),
    PixelAttribute.ROWS: ("600",),
}


def test(attribute: str, **comparison: str) -> dict[str, str]:
    return {"attribute": attribute, **comparison}


test.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("condition", "fit"),
    [
        ({"all": [test("Manufacturer", contains="medical")]}, True),
        ({"all": [test("Manufacturer", equals=" acme MEDICAL ")]}, True),
        ({"all": [test("Manufacturer", equals="ACME")]}, False),
        ({"all": [test("Manufacturer", startsWith="acme")]}, True),
        ({"all": [test("Manufacturer", startsWith="medical")]}, False),
        ({"all": [test("Manufacturer", matches="a?me*")]}, True),
        ({"all": [test("Manufacturer", matches="a?me")]}, False),
        ({"all": [test("ImageType", equals="SECONDARY")]}, True),
        ({"all": [test("ImageType", equals="PRIMARY")]}, False),
        ({"all": [test("Rows", equals="600")]}, True),
        ({"all": [test("Rows", equals="600"), test("Manufacturer", contains="other")]}, False),
        ({"any": [test("Rows", equals="1"), test("Manufacturer", contains="acme")]}, True),
        ({"any": [test("Rows", equals="1"), test("Rows", equals="2")]}, False),
        ({"all": [test("Rows", equals="600")], "none": [test("ImageType", contains="screen")]}, False),
        ({"all": [test("Rows", equals="600")], "none": [test("ImageType", contains="localizer")]}, True),
        ({"all": [test("StationName", equals="")]}, True),
        ({"all": [test("StationName", matches="*")]}, True),
        ({"all": [test("Manufacturer", equals="")]}, False),
    ],
)
def test_conditions(condition: dict[str, Any], fit: bool) -> None:
    assert fits(PixelCondition.model_validate(condition), TEXTS) is fit


@given(st.text("ab*?", min_size=1, max_size=12), st.text("ab", max_size=12))
def test_wildcards_are_those_of_a_shell(pattern: str, text: str) -> None:
    condition = PixelCondition.model_validate({"all": [test("Manufacturer", matches=pattern)]})
    assert fits(condition, {PixelAttribute.MANUFACTURER: (text,)}) is fnmatchcase(text, pattern)


def test_no_pattern_takes_long() -> None:
    condition = PixelCondition.model_validate({"all": [test("Manufacturer", matches="*a" * 60 + "b")]})
    assert not fits(condition, {PixelAttribute.MANUFACTURER: ("a" * 1024,)})


RULE: dict[str, Any] = {"name": "x", "when": {"all": [test("Rows", equals="600")]}, "action": "Pass"}


@pytest.mark.parametrize(
    "rule",
    [
        {**RULE, "when": {}},
        {**RULE, "when": {"none": [test("Rows", equals="1")]}},
        {**RULE, "when": {"all": [test("PatientName", equals="x")]}},
        {**RULE, "when": {"all": [test("Rows")]}},
        {**RULE, "when": {"all": [test("Rows", equals="1", contains="2")]}},
        {**RULE, "when": {"all": [test("Rows", contains="")]}},
        {**RULE, "mask": [{"left": 0, "top": 0}]},
        {"name": "x", "when": RULE["when"]},
        {"name": "x", "when": RULE["when"], "mask": []},
        {"name": "x", "when": RULE["when"], "mask": [{"left": -1, "top": 0}]},
        {"name": "x", "when": RULE["when"], "mask": [{"left": 0, "top": 0, "width": 0}]},
        {"name": "x", "when": RULE["when"], "mask": [{"left": 0, "top": 0, "firstFrame": 3, "lastFrame": 2}]},
        {"name": "x", "when": RULE["when"], "mask": [{"left": 0, "top": 0, "right": 2}]},
    ],
)
def test_a_rule_that_says_nothing_or_too_much_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PixelPolicy.model_validate({"deviceRules": [rule]})


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two rules"):
        PixelPolicy.model_validate({"deviceRules": [RULE, RULE]})
