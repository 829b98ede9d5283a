"""200 tasks of four small instances, twenty pods at once, beside 200 bare Jobs; and what both write to the API."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from benchmarks.cluster import api_writes, bare_jobs
from benchmarks.cluster.stage import AT_ONCE, INSTANCES, STUDIES, Stage, quiet
from benchmarks.cluster.watching import Watching
from benchmarks.result import Result
from tests.samples import ct_study

_RATIO = 2.0
_WRITES = 8.0
_MANY = 400


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    writes: api_writes.Writes  # of everybody, by the API server's count
    by_operator: api_writes.Writes

    @property
    def per_task(self) -> float:
        return self.seconds / STUDIES


def measure(stage: Stage) -> Iterator[Result]:
    bare, ours = _bare(stage), _transfer(stage)
    yield Result(
        name=f"{STUDIES}-tasks-of-{INSTANCES}-instances",
        ours=ours.per_task,
        anchor=bare.per_task,
        unit="s a task",
        goal=f"ratio <= {_RATIO}",
        holds=ours.per_task / bare.per_task <= _RATIO,
        anchor_is=f"{STUDIES} bare Jobs running /bin/true, {AT_ONCE} at once",
    )
    _tell("by everybody, bare", bare.writes)
    _tell("by everybody, ours", ours.writes)
    _tell("by the operator", ours.by_operator)
    of_kubernetes = Counter(bare.writes)
    for by_its_maker in ("POST jobs", "DELETE jobs"):
        del of_kubernetes[by_its_maker]
    # Kind by kind: that Kubernetes writes less of one for a pod that lives longer pays for nothing of ours.
    by_us = (ours.writes - of_kubernetes).total() / STUDIES
    for name, written, count in (
        ("api-writes-a-task-by-us", by_us, "by the API server's count"),
        ("api-writes-a-task-by-the-operator", ours.by_operator.total() / STUDIES, "by the operator's own count"),
    ):
        yield Result(
            name=name,
            ours=written,
            anchor=of_kubernetes.total() / STUDIES,
            unit="writes",
            goal=f"<= {_WRITES:g}",
            holds=written <= _WRITES,
            anchor_is=f"what Kubernetes itself writes for a bare Job; ours {count}",
        )
    yield _of_an_instance(stage)


def _of_an_instance(stage: Stage) -> Result:
    """Workers cannot write: they have no token. What the operator writes must not follow the instances either."""
    installation = stage.installation
    big = ct_study(_MANY, seed="bench-many", patient_id="bench-many")
    installation.source.upload(*big.files())
    few, many = (_writes_of_one(stage, uid) for uid in (stage.studies()[0], big.study_instance_uid))
    return Result(
        name=f"api-writes-of-a-task-of-{_MANY}-instances",
        ours=many,
        anchor=few,
        unit="writes",
        goal="ours - anchor <= 4: a status every five seconds of it, none per instance",
        holds=many - few <= 4,
        anchor_is=f"a task of {INSTANCES} instances; both by the operator's own count",
    )


def _writes_of_one(stage: Stage, study: str) -> int:
    """From its creation until all its numbers are told and its Job is gone."""
    installation = stage.installation
    quiet(installation)
    before = api_writes.of_operator(stage.operator_metrics())
    job = installation.job(study, source={"node": "bench-pacs"}, destination={"node": "bench-research"})
    job.wait("Complete")
    _until_cleared(stage)
    return api_writes.difference(api_writes.of_operator(stage.operator_metrics()), before).total()


def _bare(stage: Stage) -> _Run:
    before = api_writes.of_api_server()
    seconds = bare_jobs.run_many(stage.bare, STUDIES, AT_ONCE)
    bare_jobs.delete_all(stage.bare)
    return _Run(seconds, api_writes.difference(api_writes.of_api_server(), before), api_writes.Writes())


def _transfer(stage: Stage) -> _Run:
    """From creation to the resource's own word that all of it is proven; then until nothing is left of its Jobs."""
    installation = stage.installation
    quiet(installation)
    before, by_operator = api_writes.of_api_server(), api_writes.of_operator(stage.operator_metrics())
    namespace, name = installation.namespace, f"tasks-{uuid4().hex[:8]}"
    with Watching(f"/apis/adit.dev/v1alpha1/namespaces/{namespace}/transferjobs") as news:
        begun = time.perf_counter()
        job = installation.job(
            *stage.studies(),
            name=name,
            source={"node": "bench-pacs"},
            destination={"node": "bench-research"},
            parallelism=AT_ONCE,
        )
        for at, _, resource in news.changes(900):
            if resource["metadata"]["name"] == name and resource.get("status", {}).get("completionTime"):
                seconds = at - begun
                break
    counts = job.status["counts"]
    assert counts["succeeded"] == STUDIES, counts
    assert installation.destination.counts()["instances"] == STUDIES * INSTANCES
    tries = sum(task.attempts for task in installation.ledger.tasks(job.id))
    print(f"# {tries} attempts at {STUDIES} tasks", file=sys.stderr)
    _until_cleared(stage)
    return _Run(
        seconds,
        api_writes.difference(api_writes.of_api_server(), before),
        api_writes.difference(api_writes.of_operator(stage.operator_metrics()), by_operator),
    )


def _until_cleared(stage: Stage) -> None:
    """Its Jobs are deleted by the operator, after keepSeconds: their writes count too."""
    installation, deadline = stage.installation, time.monotonic() + 300
    while installation.get("jobs", labels="app.kubernetes.io/component=worker"):
        assert time.monotonic() < deadline, "the operator clears its Jobs away"
        time.sleep(2)
    time.sleep(3)


def _tell(who: str, writes: api_writes.Writes) -> None:
    """Where a figure comes from, on standard error."""
    parts = ", ".join(f"{kind} {count / STUDIES:.2f}" for kind, count in writes.most_common(14))
    print(f"# writes a task {who}: {parts}", file=sys.stderr)
