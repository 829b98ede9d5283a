"""How fast the ledger expands a job of 10,000 tasks and claims them, on the embedded Postgres with fsync on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from adit.dispatch.admit import AdmissionSettings, admit
from adit.ledger.records import TaskSeed
from adit.model.dicom_node import DicomNode
from benchmarks.result import Result
from benchmarks.rig import Bench, bench, job

_TASKS = 10_000
_EXPAND_SECONDS = 10
_CLAIMS_PER_SECOND = 500
_SETTINGS = AdmissionSettings(max_running=1000)


def measure(folder: Path) -> Iterator[Result]:
    with bench(folder) as rig:
        rig.apply(_node("source"), _node("destination"))
        small, big = _expand(rig, _TASKS // 10, "small"), _expand(rig, _TASKS, "big")
        yield Result(
            name="expand-10000-tasks",
            ours=big,
            anchor=small,
            unit="s",
            goal=f"ours <= {_EXPAND_SECONDS}",
            holds=big <= _EXPAND_SECONDS,
            anchor_is="the same for 1,000 tasks",
        )
        one, many = _claim_one_by_one(rig, 20), _claim(rig)
        yield Result(
            name="claims",
            ours=many,
            anchor=one,
            unit="claims/s",
            goal=f"ours >= {_CLAIMS_PER_SECOND}",
            holds=many >= _CLAIMS_PER_SECOND,
            anchor_is="one claim a transaction",
        )


def _node(name: str) -> DicomNode:
    spec = {"folder": {"path": f"/{name}"}, "limits": {"tasks": 500, "associations": 500}}
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": spec})


def _expand(rig: Bench, tasks: int, name: str) -> float:
    now = datetime.now(UTC)
    transfer = job(name, "source", "destination", ["1.2.3"])
    transfer = transfer.model_copy(update={"spec": transfer.spec.model_copy(update={"parallelism": 500})})
    rig.ledger.apply_job(transfer, now)
    record = rig.ledger.job(transfer.key)
    assert record is not None
    seeds = [TaskSeed(f"1.2.{len(name)}.{index}", patient_id=str(index)) for index in range(tasks)]
    begun = time.perf_counter()
    expanded = rig.ledger.expand(record.id, seeds, now)
    seconds = time.perf_counter() - begun
    assert expanded == tasks
    return seconds


def _claim(rig: Bench) -> float:
    """Claims a second, one admission after the other as the dispatcher does, until the nodes have no more room."""
    begun = time.perf_counter()
    claimed = 0
    while True:
        with rig.ledger.admission(datetime.now(UTC)) as admission:
            claims = admission.claim(admit(admission.snapshot, _SETTINGS), lease_seconds=60)
        if not claims:
            break
        claimed += len(claims)
    seconds = time.perf_counter() - begun
    assert claimed > 400, claimed
    return claimed / seconds


def _claim_one_by_one(rig: Bench, number: int) -> float:
    begun = time.perf_counter()
    for _ in range(number):
        with rig.ledger.admission(datetime.now(UTC)) as admission:
            [_claimed] = admission.claim(admit(admission.snapshot)[:1], lease_seconds=60)
    return number / (time.perf_counter() - begun)
