"""What the cluster's benchmarks stand on: ADIT installed by its chart with the sandbox, small studies, an operator.

Made once for all of them. `ADIT_BENCH_NAMESPACE` names a release that stays, for whoever measures again and again.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from benchmarks.cluster.api_writes import samples
from tests.cluster.installation import Installation, dicom_node
from tests.cluster.kubernetes import Kubernetes, eventually
from tests.cluster.processes import processes_of
from tests.samples import ct_study, uid

INSTANCES: Final = 4
STUDIES: Final = 200
AT_ONCE: Final = 20
_METRICS_PORT: Final = 8080
_LABELS: Final = {"pod-security.kubernetes.io/enforce": "restricted", "adit.dev/made-by": "benchmarks"}


@dataclass(frozen=True)
class Stage:
    """The release, and a namespace beside it for what runs without us."""

    installation: Installation
    bare: str  # the namespace

    def studies(self) -> list[str]:
        """At the source, of `INSTANCES` small instances each."""
        return [uid("study", f"bench-{number}") for number in range(STUDIES)]

    def operator(self) -> Any:
        """Its pod; one that is just ending does not count."""
        [pod] = [each for each in self.installation.pods("operator") if "deletionTimestamp" not in each["metadata"]]
        return pod

    def operator_rss(self) -> Rss:
        """Of all processes in the operator's pod, as the kernel counts them."""
        return _rss(processes_of(self.operator()))

    def operator_metrics(self) -> str:
        return scrape(self.operator()["status"]["podIP"], "/metrics")


@dataclass(frozen=True, slots=True)
class Rss:
    """MiB."""

    now: float
    peak: float


@contextmanager
def stage() -> Iterator[Stage]:
    kept = os.environ.get("ADIT_BENCH_NAMESPACE")
    name = kept or f"bench-{uuid4().hex[:8]}"
    bare = f"{name}-bare"
    kubernetes = Kubernetes()
    for namespace in (name, bare):
        kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": _LABELS}})
    installation = Installation(name)
    try:
        installation.install()
        _prepare(installation)
        yield Stage(installation, bare)
    finally:
        installation.close()
        if kept is None:
            for namespace in (name, bare):
                kubernetes.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def _prepare(installation: Installation) -> None:
    """The studies, and nodes that let twenty tasks work at once."""
    have = installation.source.counts()["studies"]
    if have < STUDIES:
        for number in range(STUDIES):
            study = ct_study(INSTANCES, seed=f"bench-{number}", patient_id=f"bench-{number}")
            installation.source.upload(*study.files())
    limits = {"tasks": AT_ONCE, "associations": 2 * AT_ONCE}
    hosts = {"bench-pacs": "sandbox-pacs", "bench-research": "sandbox-research"}
    installation.apply(
        *(
            dicom_node(name, f"{installation.release}-{host}.{installation.namespace}.svc", limits=limits)
            for name, host in hosts.items()
        )
    )
    installation.clear()


def scrape(host: str, path: str, seconds: float = 5.0) -> str:
    """AssertionError unless it is 200; OSError where nobody answers."""
    connection = http.client.HTTPConnection(host, _METRICS_PORT, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 200, (path, answer.status)
    return body


def leads(host: str) -> bool:
    """Whether the operator there is ready and leads, and has taken in everything once."""
    try:
        scrape(host, "/readyz", 1.0)
        metrics = scrape(host, "/metrics", 1.0)
    except (OSError, AssertionError, http.client.HTTPException):
        return False
    leader = re.search(r"^adit_operator_leader 1\.0$", metrics, re.MULTILINE)
    swept = [
        value
        for labels, value in samples(metrics, "adit_operator_reconcile_seconds_count")
        if labels["part"] == "sweep"
    ]
    return leader is not None and sum(swept) >= 1


def _rss(pids: list[int]) -> Rss:
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    found = [(re.findall(r"^VmRSS:\s+(\d+)", text, re.M), re.findall(r"^VmHWM:\s+(\d+)", text, re.M)) for text in texts]
    now, peak = (sum(int(each[index][0]) for each in found) / 1024 for index in (0, 1))
    assert found
    return Rss(now, peak)


def quiet(installation: Installation) -> None:
    """Nothing of ours runs any more: what comes next begins on an idle cluster."""
    installation.clear()
    eventually("no Job is left", lambda: not installation.get("jobs", labels="app.kubernetes.io/component=worker"), 120)
    time.sleep(2)
