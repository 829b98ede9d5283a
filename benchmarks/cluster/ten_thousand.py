"""A job of 10,000 tasks from a list in the ledger: how soon it has them, the operator's memory, the status's size."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

from benchmarks.cluster.stage import Stage, quiet
from benchmarks.result import Result
from tests.cluster.installation import Installation, transfer_job
from tests.cluster.kubernetes import eventually
from tests.samples import uid

TASKS = 10_000
_SECONDS = 15.0
_RSS = 200.0
_STATUS = 10_000


def measure(stage: Stage) -> Iterator[Result]:
    installation = stage.installation
    quiet(installation)
    idle, small = stage.operator_rss(), _status_of_one(stage)
    selection = _post(installation, [uid("nowhere", number) for number in range(TASKS)])
    anchor = _copy_seconds(installation)
    job, expanded, shown = _expand(installation, selection)
    rss = stage.operator_rss()
    size = len(json.dumps(job["status"], separators=(",", ":")))
    yield Result(
        name=f"{TASKS}-tasks-expanded",
        ours=expanded,
        anchor=anchor,
        unit="s",
        goal=f"<= {_SECONDS:g} s",
        holds=expanded <= _SECONDS,
        anchor_is=f"{TASKS} such rows copied by one INSERT SELECT in the same Postgres",
    )
    yield Result(
        name=f"{TASKS}-tasks-shown-by-kubectl",
        ours=shown,
        anchor=expanded,
        unit="s",
        goal=f"<= {_SECONDS:g} s",
        holds=shown <= _SECONDS,
        anchor_is="the line before: kubectl apply to the rows; here to the status",
    )
    yield Result(
        name=f"operator-rss-{TASKS}-tasks",
        ours=rss.peak,
        anchor=idle.now,
        unit="MiB",
        goal=f"<= {_RSS:g} MiB",
        holds=rss.peak <= _RSS,
        anchor_is="the same operator without work; ours is its peak since its start",
    )
    yield Result(
        name=f"status-bytes-{TASKS}-tasks",
        ours=size,
        anchor=small,
        unit="bytes",
        goal=f"<= {_STATUS}",
        holds=size <= _STATUS,
        anchor_is="the status of a job of one task",
    )
    yield _cancel(installation, job["metadata"]["name"], shown)
    quiet(installation)


def _status_of_one(stage: Stage) -> int:
    job = stage.installation.job(
        stage.studies()[0], source={"node": "bench-pacs"}, destination={"node": "bench-research"}
    )
    job.wait("Complete")
    return len(json.dumps(job.status, separators=(",", ":")))


def _post(installation: Installation, studies: list[str]) -> str:
    """The id of a selection, kept by the facade."""
    command = (
        "exec",
        f"deploy/{installation.release}-api",
        "--",
        "adit",
        "token",
        "create",
        f"bench-{uuid4().hex[:6]}",
    )
    token = installation.kubectl(*command, "--scope", "read", "--scope", "write").strip()
    body = {"namespace": installation.namespace, "studies": [{"studyInstanceUID": study} for study in studies]}
    request = Request(
        f"http://{installation.release}-api.{installation.namespace}.svc/v1/selections",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["id"])


def _copy_seconds(installation: Installation) -> float:
    """What Postgres itself needs for as many rows of the same width, committed."""
    make = "CREATE TABLE bench_rows (LIKE task INCLUDING ALL);"
    fill = (
        "INSERT INTO bench_rows (job_id, job_created_on, state, not_before, key, study_instance_uid) "
        "SELECT gen_random_uuid(), now(), 'Pending', now(), repeat('k', 58) || n, repeat('1', 40) || n "
        f"FROM generate_series(1, {TASKS}) AS n;"
    )
    begun = "SELECT clock_timestamp() AS begun \\gset\n"
    told = "SELECT extract(epoch FROM clock_timestamp() - :'begun'::timestamptz);"
    script = f"{make}\n{begun}{fill}\n{told}\nDROP TABLE bench_rows;"
    command = ["kubectl", "-n", installation.namespace, "exec", "-i", f"{installation.release}-postgres-0", "--"]
    command += ["psql", "-qtA", "-v", "ON_ERROR_STOP=1", "-U", "adit", "-d", "adit"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def _expand(installation: Installation, selection: str) -> tuple[Any, float, float]:
    """The resource once it shows its tasks; seconds from `kubectl apply` to the last task's row, and to the status."""
    manifest = transfer_job(
        f"many-{uuid4().hex[:8]}",
        source={"node": "bench-pacs"},
        destination={"node": "bench-research"},
        selection={"list": {"id": selection}},
        parallelism=1,
    )
    name, ledger = manifest["metadata"]["name"], installation.ledger
    ledger.schema()  # connected
    begun = time.perf_counter()
    installation.apply(manifest)

    def has_rows() -> bool:
        record = ledger.job((installation.namespace, name))
        return record is not None and record.expanded_at is not None

    eventually("it has its tasks", has_rows, 120)
    expanded = time.perf_counter() - begun

    def shows() -> Any:
        job = installation.get("transferjob", name)
        return job if job.get("status", {}).get("counts", {}).get("total") == TASKS else None

    job = eventually("its status says so", shows, 60)
    return job, expanded, time.perf_counter() - begun


def _cancel(installation: Installation, name: str, shown: float) -> Result:
    begun = time.perf_counter()
    installation.kubectl("patch", "transferjob", name, "--type=merge", "-p", '{"spec": {"cancel": "Terminate"}}')
    installation.kubectl("wait", "--for=condition=Failed", f"transferjob/{name}", "--timeout=120s")
    seconds = time.perf_counter() - begun
    return Result(
        name=f"{TASKS}-tasks-cancelled",
        ours=seconds,
        anchor=shown,
        unit="s",
        goal=f"<= {_SECONDS:g} s",
        holds=seconds <= _SECONDS,
        anchor_is="making and showing them",
    )
