"""What kubectl wait, kstatus (Helm, Flux), Argo CD's Lua and Flux's CEL make of each stage: never a wrong green."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from lupa import lua51  # Argo CD's interpreter speaks Lua 5.1

from adit.deid.profiles import ready
from adit.model.condition import ConditionReason
from adit_operator.job_status import job_status
from adit_operator.node_status import NodeView, node_status
from adit_operator.problem import Problem
from adit_operator.profile_status import ProfileView, profile_status
from tests.unit.dispatch.nouns import folder_node
from tests.unit.operator.kstatus import kstatus
from tests.unit.operator.views import NOW, STAGES

EXAMPLES = Path(__file__).parents[3] / "examples"
UNSEEN = {"observedGeneration": -1}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def as_lua(runtime: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return runtime.table_from({key: as_lua(runtime, each) for key, each in value.items()})
    if isinstance(value, list):
        return runtime.table_from([as_lua(runtime, each) for each in value])
    return value


def argo(kind: str, body: dict[str, Any]) -> tuple[str, str]:
    """Health and message by the check in examples/argocd."""
    (settings,) = documents("argocd/argocd-cm.yaml")
    check = settings["data"][f"resource.customizations.health.adit.dev_{kind}"]
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    health = runtime.eval(f"function(obj) os, io = nil, nil {check} end")(as_lua(runtime, body))
    return health["status"], health["message"]


@cache
def expressions(kind: str) -> list[dict[str, str]]:
    found = [
        each
        for document in documents("flux/transfers.yaml")
        for each in document["spec"].get("healthCheckExprs", [])
        if each["kind"] == kind
    ]
    assert found
    assert all(each == found[0] for each in found)
    return found


def flux(kind: str, body: dict[str, Any]) -> str:
    """The first expression that is true, in Flux's order; a missing field means to wait."""
    for name in ("inProgress", "failed", "current"):
        try:
            if cel.evaluate(expressions(kind)[0][name], {key: body[key] for key in ("metadata", "status")}):
                return {"inProgress": "InProgress", "failed": "Failed", "current": "Current"}[name]
        except (RuntimeError, ValueError):
            return "InProgress"
    return "InProgress"


def kubectl_wait(body: dict[str, Any], kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in body["status"].get("conditions", []))


def job_at(stage: str) -> dict[str, Any]:
    status = UNSEEN if stage == "not seen" else job_status(STAGES[stage], None, NOW)
    assert status is not None
    return {"metadata": {"name": "x", "generation": 1}, "status": status}


JOBS: dict[str, tuple[str, str, str]] = {  # kstatus, Argo CD, Flux waiting for Complete
    "not seen": ("InProgress", "Progressing", "InProgress"),
    "waits for its node": ("InProgress", "Progressing", "InProgress"),
    "waits for its node too long": ("Failed", "Degraded", "Failed"),
    "refused": ("Failed", "Degraded", "Failed"),
    "invalid": ("Failed", "Degraded", "Failed"),
    "being expanded": ("InProgress", "Progressing", "InProgress"),
    "waits for its turn": ("Current", "Progressing", "InProgress"),
    "runs": ("Current", "Progressing", "InProgress"),
    "all ended, not closed": ("Current", "Progressing", "InProgress"),
    "suspended": ("Current", "Suspended", "InProgress"),
    "suspended, could not start": ("Current", "Suspended", "InProgress"),
    "being cancelled": ("Current", "Progressing", "InProgress"),
    "cannot start": ("Failed", "Degraded", "Failed"),
    "change not taken": ("Failed", "Degraded", "Failed"),
    "complete": ("Current", "Healthy", "Current"),
    "nothing to do": ("Current", "Healthy", "Current"),
    "warned": ("Failed", "Degraded", "Failed"),
    "failed": ("Failed", "Degraded", "Failed"),
    "cancelled": ("Failed", "Degraded", "Failed"),
    "partly cancelled": ("Failed", "Degraded", "Failed"),
}


def test_every_stage_is_judged() -> None:
    assert set(JOBS) == {"not seen", *STAGES}


@pytest.mark.parametrize("stage", JOBS)
def test_a_job_is_judged_alike_by_all(stage: str) -> None:
    body = job_at(stage)
    assert (kstatus(body), argo("TransferJob", body)[0], flux("TransferJob", body)) == JOBS[stage]
    green = stage in ("complete", "nothing to do")
    assert kubectl_wait(body, "Complete") == green
    assert (flux("TransferJob", body) == "Current") == green
    assert (argo("TransferJob", body)[0] == "Healthy") == green


@pytest.mark.parametrize("stage", JOBS)
def test_a_change_that_nobody_has_seen_is_in_progress(stage: str) -> None:
    body = job_at(stage)
    body["metadata"]["generation"] = 2
    assert (kstatus(body), argo("TransferJob", body)[0], flux("TransferJob", body)) == (
        "InProgress",
        "Progressing",
        "InProgress",
    )


def test_without_any_status_nothing_is_green() -> None:
    """A cluster with an older CRD gives no default."""
    body: dict[str, Any] = {"metadata": {"name": "x", "generation": 1}}
    assert argo("TransferJob", body)[0] == "Progressing"
    assert argo("DicomNode", body)[0] == "Progressing"


def test_being_deleted() -> None:
    body = job_at("complete")
    body["metadata"]["deletionTimestamp"] = "2026-03-02T12:00:00Z"
    assert (kstatus(body), argo("TransferJob", body)) == ("Terminating", ("Progressing", "Being deleted"))


def test_argo_says_why() -> None:
    assert argo("TransferJob", job_at("failed"))[1].startswith("TasksFailed: 1 of 4 tasks failed: NodeTimeout (1)")
    assert argo("TransferJob", job_at("runs"))[1] == "1/4"
    assert argo("TransferJob", job_at("waits for its node"))[1].startswith("NodeNotFound: ")


PROBLEM = Problem(ConditionReason.INVALID, "spec.windows[0].timeZone: no such IANA time zone.", 1)
NODES: dict[str, tuple[NodeView | None, tuple[str, str, str]]] = {
    "not seen": (None, ("InProgress", "Progressing", "InProgress")),
    "known": (NodeView(1, folder_node("disk")), ("Current", "Healthy", "Current")),
    "invalid": (NodeView(1, None, PROBLEM), ("Failed", "Degraded", "Failed")),
    "change not taken": (NodeView(1, folder_node("disk"), PROBLEM), ("Failed", "Degraded", "Failed")),
}


@pytest.mark.parametrize("stage", NODES)
def test_a_node_is_judged_alike_by_all(stage: str) -> None:
    view, expected = NODES[stage]
    status = UNSEEN if view is None else node_status(view, None, NOW)
    assert status is not None
    body = {"metadata": {"name": "x", "generation": 1}, "status": status}
    assert (kstatus(body), argo("DicomNode", body)[0], flux("DicomNode", body)) == expected


PROFILES: dict[str, tuple[ProfileView | None, tuple[str, str, str]]] = {
    "not seen": (None, ("InProgress", "Progressing", "InProgress")),
    "known": (ProfileView(1, ready("upstream")), ("Current", "Healthy", "Current")),
    "invalid": (ProfileView(1, None, PROBLEM), ("Failed", "Degraded", "Failed")),
    "change not taken": (ProfileView(1, ready("basic"), PROBLEM), ("Failed", "Degraded", "Failed")),
}


@pytest.mark.parametrize("stage", PROFILES)
def test_a_profile_is_judged_alike_by_all(stage: str) -> None:
    view, expected = PROFILES[stage]
    status = UNSEEN if view is None else profile_status(view, None, NOW)
    assert status is not None
    body = {"metadata": {"name": "x", "generation": 1}, "status": status}
    assert (kstatus(body), argo("DeidProfile", body)[0], flux("DeidProfile", body)) == expected


def test_the_examples_speak_of_our_kinds_only() -> None:
    (settings,) = documents("argocd/argocd-cm.yaml")
    told = {tuple(name.removeprefix("resource.customizations.").split(".adit.dev_")) for name in settings["data"]}
    kinds = ("TransferJob", "DicomNode", "DeidProfile")
    assert told == {(what, kind) for what in ("health", "ignoreResourceUpdates") for kind in kinds}
    (application,) = documents("argocd/application.yaml")
    (ignored,) = application["spec"]["ignoreDifferences"]
    assert (ignored["group"], ignored["kind"]) == ("adit.dev", "TransferJob")
    for name in ("argocd/argocd-cm.yaml", "argocd/application.yaml", "flux/transfers.yaml"):
        assert (EXAMPLES / name).read_text(encoding="utf-8").startswith("# ")
