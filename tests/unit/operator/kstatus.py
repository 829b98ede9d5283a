"""kstatus' generic rules (cli-utils, pkg/kstatus/status): what Flux, Helm and kpt make of a resource."""

from __future__ import annotations

from typing import Any


def kstatus(resource: dict[str, Any]) -> str:
    metadata, status = resource["metadata"], resource.get("status", {})
    if "deletionTimestamp" in metadata:
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata["generation"]:
        return "InProgress"
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    for each in status.get("conditions", []):
        if each["type"] == "Reconciling" and each["status"] == "True":
            return "InProgress"
        if each["type"] == "Stalled" and each["status"] == "True":
            return "Failed"
    if "Ready" in conditions:
        return "Current" if conditions["Ready"] == "True" else "InProgress"
    return "Current"
