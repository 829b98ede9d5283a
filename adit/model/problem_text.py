"""What pydantic found wrong, in the words of the resource's author: place, rule, offending value.

Called by `adit.model.manifest_file` for each error of a document.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from adit.model.crd import Schema, structural
from adit.model.guess import guess
from adit.model.identifiers import RULE_OF_PATTERN
from adit.model.yaml_document import Document, Place, field_path

_UNSHOWN: Final = frozenset({"patientID", "pseudonym"})
_SHOWN_CHARACTERS: Final = 60
_STUDIES: Final[Place] = ("spec", "selection", "studies")
_SHAPES: Final = frozenset({"tuple_type", "model_type", "dict_type", "model_attributes_type"})
_RULES: Final = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must be at most {max_length} characters long",
    "string_too_short": "must be at least {min_length} characters long",
    "too_long": "must have at most {max_length}, not {actual_length}",
    "too_short": "must have at least {min_length}, not {actual_length}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
"""By pydantic's error type; the braces name what its context holds."""


def describe(error: ErrorDetails, document: Document, model: type[BaseModel]) -> tuple[Place, str, str]:
    """Place, rule and offending value of one error; the value is empty where it might name a patient."""
    place: Place = tuple(error["loc"])
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        return place, _unknown_field(place, model), ""
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return place, RULE_OF_PATTERN.get(pattern, f"must match {pattern}"), _shown(place, given)
    if kind == "value_error":
        rule = str(context["error"])
        return place, rule, _shown(place, given) if isinstance(given, (str, int)) and str(given) not in rule else ""
    rule = _RULES.get(kind, "{message}").format(message=error["msg"], **context)
    if kind == "too_long" and place == _STUDIES:
        rule += ": more go into a selection, which the job names by selection.list (POST /v1/selections, docs/api.md)"
    if kind == "missing" or kind in ("too_long", "too_short"):
        return place, rule, ""
    if kind == "string_type" and place in document.unquoted:
        written = "" if place[-1] in _UNSHOWN else f': "{document.unquoted[place][:_SHOWN_CHARACTERS]}"'
        return place, f"must be a string: put it in quotes{written}", ""
    if kind == "int_type" and isinstance(given, str) and given.isdecimal():
        return place, f"{rule}: leave out the quotes", _shown(place, given)
    if kind in _SHAPES:
        # what stands where a mapping or a list should be may be anything, a patient's id too
        return place, rule, "a scalar" if isinstance(given, (str, int, float)) else _shown(place, given)
    if kind in ("enum", "literal_error"):
        rule += guess(
            str(given), [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
        )
    return place, rule, _shown(place, given)


def known_fields(around: Place, model: type[BaseModel]) -> list[str]:
    """Which fields the model has at this place; none where it has no place like it."""
    schema = _schema(model)
    for step in around:
        schema = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
    return list(schema.get("properties", {}))


def _unknown_field(place: Place, model: type[BaseModel]) -> str:
    known = known_fields(place[:-1], model)
    around = field_path(place[:-1])
    return f"is not a field{' of ' + around if around else ''}{guess(str(place[-1]), known)}"


def _shown(place: Place, value: Any) -> str:
    if any(step in _UNSHOWN for step in place):
        return ""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"


def is_echo(error: ErrorDetails) -> bool:
    """Whether pydantic calls a list too short only because its items are wrong, which it says too."""
    return (
        error["type"] == "too_short"
        and isinstance(error["input"], list)
        and len(error["input"]) >= error["ctx"]["min_length"]
    )


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return structural(model)
