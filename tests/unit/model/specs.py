"""Small valid resources for the model's tests, to be changed one field at a time."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

API_VERSION = "adit.dev/v1alpha1"

JOB: dict[str, Any] = {
    "source": {"node": "pacs"},
    "destination": {"node": "research"},
    "selection": {"studies": [{"studyInstanceUID": "1.2.3"}]},
}
NODE: dict[str, Any] = {"dimse": {"aeTitle": "PACS", "host": "pacs.example.org", "port": 104}}
BUCKET: dict[str, Any] = {"bucket": "lake"}
WINDOW: dict[str, Any] = {"from": "20:00", "to": "06:00"}

PROFILE: dict[str, Any] = {"key": {"secretName": "deid-key"}}
SPECS = {"TransferJob": JOB, "DicomNode": NODE, "DeidProfile": PROFILE}

GONE = "(gone)"
"""Stands for a field that is left out."""


def changed(spec: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with each dotted path set to its value (`GONE` leaves the field out)."""
    result = deepcopy(spec)
    for path, value in changes.items():
        *parents, last = path.split(".")
        inside: Any = result
        for step in parents:
            inside = inside[int(step)] if step.isdigit() else inside.setdefault(step, {})
        if value is GONE:
            del inside[last]
        elif isinstance(inside, list):
            inside[int(last)] = value
        else:
            inside[last] = value
    return result


def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A whole document around a spec."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
