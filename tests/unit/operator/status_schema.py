"""A status as the API server takes it: by the CRD's own schema, with nothing that it would drop."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from adit.model.crd import crds

Schema = dict[str, Any]


def _closed(schema: Schema) -> Schema:
    """No field is dropped in silence."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        result["additionalProperties"] = False
    if "items" in schema:
        result["items"] = _closed(schema["items"])
    return result


_VALIDATORS = {
    crd["spec"]["names"]["kind"]: jsonschema_rs.validator_for(
        _closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]),
        validate_formats=True,
    )
    for crd in crds().values()
}
MAX_BYTES = 10_000


def check(kind: str, status: dict[str, Any]) -> None:
    """Raises where the status is not what the CRD says, or too large."""
    text = json.dumps(status)
    _VALIDATORS[kind].validate(json.loads(text))
    assert len(text.encode()) <= MAX_BYTES
    types = [each["type"] for each in status["conditions"]]
    assert len(types) == len(set(types))
