"""From `kubectl apply` of a TransferJob to its first instance at the destination, image present, idle cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from statistics import median
from uuid import uuid4

from benchmarks.cluster.bare_jobs import apply_one
from benchmarks.cluster.stage import Stage, quiet
from benchmarks.result import Result
from tests.cluster.installation import transfer_job
from tests.cluster.kubernetes import Kubernetes

ROUNDS = 5
_SECONDS = 3.0


def measure(stage: Stage) -> Iterator[Result]:
    """Medians of rounds in turn; a first one, which fills the caches, does not count."""
    rounds = []
    for number in range(ROUNDS + 1):
        bare = apply_one(stage.bare, f"bare-{uuid4().hex[:8]}")
        rounds.append((bare.started, bare.completed, _first_instance(stage, stage.studies()[number])))
        quiet(stage.installation)
    started, completed, ours = (median(each[part] for each in rounds[1:]) for part in range(3))
    for name, anchor, anchor_is in (
        ("apply-to-first-instance", completed, "a bare Job running /bin/true: kubectl apply to Complete"),
        (
            "apply-to-first-instance-beside-container-start",
            started,
            "a bare Job: kubectl apply to its container started",
        ),
    ):
        yield Result(
            name=name,
            ours=ours,
            anchor=anchor,
            unit="s",
            goal=f"<= {_SECONDS:g} s",
            holds=ours <= _SECONDS,
            anchor_is=anchor_is,
        )


def _first_instance(stage: Stage, study: str) -> float:
    """Seconds; the destination is asked every 20 ms."""
    destination = stage.installation.destination
    manifest = transfer_job(
        f"first-{uuid4().hex[:8]}",
        source={"node": "bench-pacs"},
        destination={"node": "bench-research"},
        selection={"studies": [{"studyInstanceUID": study}]},
    )
    begun = time.perf_counter()
    Kubernetes().kubectl("apply", "-n", stage.installation.namespace, "-f", "-", document=manifest)
    while not destination.get("/statistics")["CountInstances"]:
        assert time.perf_counter() - begun < 60, json.dumps(manifest)
        time.sleep(0.02)
    return time.perf_counter() - begun
