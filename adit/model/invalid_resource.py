"""What is wrong with a resource that passed its CRD and not its model: field, rule, cure; never a value.

Called by the operator, for the `Accepted` condition: a value may be a patient's id, and a status is read
by many. On the command line `adit.model.manifest_file` says more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adit.model.crd import Schema, structural
from adit.model.problem_text import describe, is_echo
from adit.model.yaml_document import Document, Place, field_path

_SHOWN: Final = 3
_CURE: Final = "Correct it and apply it again."
_VALUES: Final = re.compile(r"\s*\([^()]*\)$|: .*$")
"""Where a validator's rule goes on to say what it was given."""


def what_is_wrong(errors: ValidationError, model: type[BaseModel]) -> str:
    """A sentence or a few, with the first faults."""
    document = Document(1)
    schema = structural(model)
    said = dict.fromkeys(
        _said(error, document, model, schema) for error in errors.errors(include_url=False) if not is_echo(error)
    )
    shown = list(said)[:_SHOWN]
    if len(said) > _SHOWN:
        shown.append(f"and {len(said) - _SHOWN} more")
    return f"{'; '.join(shown)}. {_CURE}"


def _said(error: ErrorDetails, document: Document, model: type[BaseModel], schema: Schema) -> str:
    place, rule, _ = describe(error, document, model)
    if error["type"] == "value_error":
        rule = _VALUES.sub("", rule)
    if error["type"] == "extra_forbidden":
        _, hint, guess = rule.partition(";")
        place, rule = place[:-1], f"holds a field that is unknown{hint}{guess}"
    return f"{field_path(_known(place, schema)) or 'the resource'}: {rule}"


def _known(place: Place, schema: Mapping[str, Any]) -> Place:
    """As far as the schema names the steps: what someone made up as a field's name may be anything."""
    known: list[str | int] = []
    for step in place:
        inside = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
        if inside is None:
            break
        known.append(step)
        schema = inside
    return tuple(known)
