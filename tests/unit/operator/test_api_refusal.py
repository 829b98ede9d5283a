"""What is passed on of an API server's refusal: where something is wrong, never what stands there."""

from __future__ import annotations

from typing import Any

import pytest

from adit_operator.api_refusal import Answer, invalid_fields


def fields(causes: Any) -> tuple[str, ...]:
    return invalid_fields(Answer(422, {"reason": "Invalid", "details": {"causes": causes}}, None))


def test_fields_and_reasons_are_passed_on_and_no_values() -> None:
    name = "spec.template.spec.volumes[3].name"
    causes = [
        {"reason": "FieldValueDuplicate", "field": name, "message": 'Duplicate value: "Doe^Jane"'},
        {"reason": "FieldValueDuplicate", "field": name, "message": "again"},
        {"reason": "FieldValueInvalid", "field": "metadata.annotations[example.org/a-b]", "message": "x"},
        {"field": "spec"},
    ]
    assert fields(causes) == (
        f"{name} (FieldValueDuplicate)",
        "metadata.annotations[example.org/a-b] (FieldValueInvalid)",
        "spec",
    )


@pytest.mark.parametrize(
    "causes",
    [
        None,
        "causes",
        [None, "cause", 7],
        [{"reason": "FieldValueInvalid"}],
        [{"field": 'metadata.labels: Invalid value: "Doe^Jane"'}],
        [{"field": "spec\nspec"}],
        [{"field": "s" * 201}],
    ],
)
def test_what_is_no_path_is_not_told(causes: Any) -> None:
    assert fields(causes) == ()


def test_a_reason_that_is_no_word_is_left_out_and_only_a_few_fields_are_told() -> None:
    assert fields([{"field": f"spec.a[{each}]", "reason": "of Jane Doe"} for each in range(50)]) == tuple(
        f"spec.a[{each}]" for each in range(5)
    )


@pytest.mark.parametrize("details", [None, [], "text"])
def test_a_refusal_without_details_names_no_field(details: Any) -> None:
    assert invalid_fields(Answer(422, {"details": details}, None)) == ()
