"""1,000 finished TransferJobs kept: how soon a killed or deleted operator leads again, and its memory.

The jobs were cancelled from the beginning: each has a task, an end in the ledger and a final status in the cluster;
only no worker ran for them, which would take ten minutes and add nothing that an operator reads when it starts.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.cluster.stage import Stage, leads, quiet
from benchmarks.result import Result
from tests.cluster.installation import Installation, transfer_job
from tests.cluster.kubernetes import eventually
from tests.cluster.processes import kill_processes

JOBS = 1000
ROUNDS = 3
_SECONDS = 10.0
_RSS = 200.0


def measure(stage: Stage) -> Iterator[Result]:
    """With none kept, then with all; a process is killed only once each, as the kubelet makes the next wait longer."""
    installation = stage.installation
    quiet(installation)
    empty = [_deleted(stage) for _ in range(ROUNDS)]
    empty_kill, empty_rss = _killed(stage), stage.operator_rss()
    made = _make(installation)
    kept = [_deleted(stage) for _ in range(ROUNDS)]
    kept_kill, kept_rss = _killed(stage), stage.operator_rss()
    for name, ours, anchor, what in (
        ("pod-deleted", median(kept), median(empty), "its pod deleted"),
        ("killed", kept_kill, empty_kill, "its process killed"),
    ):
        yield Result(
            name=f"operator-restart-{JOBS}-finished-jobs-{name}",
            ours=ours,
            anchor=anchor,
            unit="s",
            goal=f"<= {_SECONDS:g} s",
            holds=ours <= _SECONDS,
            anchor_is=f"the same without any TransferJob: {what}, to ready, leading and everything taken in",
        )
    yield Result(
        name=f"operator-rss-{JOBS}-finished-jobs",
        ours=kept_rss.peak,
        anchor=empty_rss.peak,
        unit="MiB",
        goal=f"<= {_RSS:g} MiB",
        holds=kept_rss.peak <= _RSS,
        anchor_is="the same without any TransferJob; both the peak since the start",
    )
    yield made
    installation.kubectl("delete", "transferjobs", "--all", "--wait=false", seconds=600)
    quiet(installation)


def _make(installation: Installation) -> Result:
    prefix = f"kept-{uuid4().hex[:6]}"
    items = [
        transfer_job(
            f"{prefix}-{number}",
            source={"node": "bench-pacs"},
            destination={"node": "bench-research"},
            selection={"studies": [{"studyInstanceUID": f"1.2.840.99999.{number}"}]},
            cancel="Terminate",
        )
        for number in range(JOBS)
    ]
    begun = time.perf_counter()
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    command = ["kubectl", "-n", installation.namespace, "create", "-f", "-"]
    subprocess.run(command, input=document, capture_output=True, text=True, timeout=300, check=True)
    created = time.perf_counter() - begun

    def ended() -> bool:
        return sum("completionTime" in job.get("status", {}) for job in installation.get("transferjobs")) == JOBS

    eventually("all have ended", ended, 300)
    seconds = time.perf_counter() - begun
    return Result(
        name=f"{JOBS}-jobs-created-and-finished",
        ours=seconds,
        anchor=created,
        unit="s",
        goal="none",
        holds=True,
        anchor_is="kubectl create of them alone",
    )


def _deleted(stage: Stage) -> float:
    """Seconds from its pod's deletion until another one leads."""
    before = stage.operator()
    begun = time.perf_counter()
    stage.installation.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")
    return _until_led(stage, begun, before["metadata"]["uid"])


def _killed(stage: Stage) -> float:
    pod = stage.operator()
    begun = time.perf_counter()
    assert kill_processes(pod, signal.SIGKILL)
    host = pod["status"]["podIP"]
    eventually("its health is gone", lambda: not leads(host), 10)
    eventually("it leads again", lambda: leads(host), 120)
    return time.perf_counter() - begun


def _until_led(stage: Stage, begun: float, before: str) -> float:
    labels = "app.kubernetes.io/part-of=adit,app.kubernetes.io/component=operator"

    def led() -> bool:
        return any(
            _is_led(pod) for pod in stage.installation.get("pods", labels=labels) if pod["metadata"]["uid"] != before
        )

    eventually("another operator leads", led, 120)
    return time.perf_counter() - begun


def _is_led(pod: Any) -> bool:
    host = pod["status"].get("podIP")
    return host is not None and leads(host)
