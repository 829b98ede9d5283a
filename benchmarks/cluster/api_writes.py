"""Writes that the API server counts, by verb and resource, from its own metrics; and those the operator counts."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from tests.cluster.kubernetes import Kubernetes

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_OUR_WRITES: Final = frozenset({"create", "update", "patch", "delete"})
_ALWAYS: Final = frozenset({"leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"})
"""Renewals by the clock, and questions: they come whether or not anything is transferred."""
_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Writes = Counter[str]


def of_api_server() -> Writes:
    """So far, of everybody: `POST batch/jobs`, `PATCH pods/status` and so on."""
    counted: Writes = Counter()
    for labels, value in samples(Kubernetes().kubectl("get", "--raw", "/metrics"), "apiserver_request_total"):
        if labels["verb"] in _WRITES and labels["resource"] not in _ALWAYS:
            kind = "/".join(part for part in (labels["resource"], labels["subresource"]) if part)
            counted[f"{labels['verb']} {kind}"] += int(value)
    return counted


def of_operator(metrics: str) -> Writes:
    """So far, by its own counters."""
    counted: Writes = Counter()
    for labels, value in samples(metrics, "adit_kubernetes_api_requests_total"):
        if labels["verb"] in _OUR_WRITES and labels["kind"] not in _ALWAYS:
            counted[f"{labels['verb']} {labels['kind']}"] += int(value)
    return counted


def samples(metrics: str, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of one metric in Prometheus' text format."""
    return [
        (dict(_LABEL.findall(labels)), float(value))
        for found, labels, value in _SAMPLE.findall(metrics)
        if found == name
    ]


def difference(after: Writes, before: Writes) -> Writes:
    return Counter({key: count for key in after if (count := after[key] - before[key])})
