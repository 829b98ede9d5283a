"""Fifty studies move while the parts of the system die and come back: nothing is lost, nothing is there twice, and at
no moment is anything called done that is not.

Killed at moments that a seed draws; `again` in conftest.py says how to have the same ones.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select

from adit.ledger.connection import LedgerUnavailable, transaction
from adit.ledger.tables import task
from tests.cluster.attempts import attempts_of
from tests.cluster.chaos.blows import BLOWS, Blow, pause
from tests.cluster.chaos.plan import STRIKES, TASKS, chance_of, moments
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually
from tests.cluster.patient_scan import names_nobody
from tests.cluster.witness import Witness, last_change, stored_no_more_often_than_tried
from tests.samples import Study

STALL_SECONDS = 240
"""The longest that a job may take to its next task, whatever died."""
TIDY_SECONDS = 240
"""An orphan is believed after two looks at all Jobs, a minute apart."""
PARALLELISM = {"facade": 2}
"""How many tasks at once, where the job would end before the last blow."""
FEWER = {"frozen-leader": (2, 15)}
"""How many blows and by which task the last, where each takes long, and work goes on meanwhile."""
RESENT = frozenset({"destination", "anything"})
"""Where the destination may die between storing and saying so, within one attempt."""


@pytest.mark.timeout(1200)
def test_a_job_survives_whatever_dies(
    installation: Installation,
    studies: list[Study],
    slow_source: str,
    kind: str,
    seed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = chance_of(seed, kind)
    uids = [study.study_instance_uid for study in studies]
    node, tasks = {"node": slow_source}, PARALLELISM.get(kind, 4)
    since = last_change(installation.destination)
    job = installation.job(*uids, name=f"{kind}-{seed}", source=node, parallelism=tasks)
    started = time.monotonic()
    with Witness(job, uids, since) as witness:
        blows = _strike(job, kind, chance)
        _complete(job)
        complete = time.monotonic() - started
        _is_tidy(job)
    tidy = time.monotonic() - started
    with capsys.disabled():
        print(f"\nchaos: {kind}: Complete after {complete:.0f} s, tidy after {tidy:.0f} s; {_cost(job)}")
        for blow in blows:
            print(f"  {blow}")
    assert witness.error is None
    assert witness.wrongs == []
    assert not witness.failed
    assert witness.looks >= 5
    job.is_proven(*uids)
    assert installation.destination.counts()["instances"] == sum(len(study.instances) for study in studies)
    assert set(witness.stored) == {uid for study in studies for uid in study.sop_instance_uids}
    stored_no_more_often_than_tried([witness], spare=STRIKES if kind in RESENT else 0)
    names_nobody(installation, studies[:10], "Okapi")


def _strike(job: Job, kind: str, chance: Random) -> list[str]:
    """All the blows; what each did, and when."""
    blow: Blow = BLOWS[kind]
    done: list[str] = []
    for moment in moments(chance, *FEWER.get(kind, ())):
        _wait_for(job, moment.tasks_done)
        pause(moment.delay)
        at = time.monotonic()
        before = _tasks_done(job)
        assert before is None or before < TASKS, f"the job ended before blow {len(done) + 1}"
        done.append(f"{blow(job, chance)}, at {before} tasks; back after {time.monotonic() - at:.1f} s")
    return done


def _wait_for(job: Job, tasks: int) -> None:
    """Until so many are done. It may take its time, but never stand still."""
    done, since = -1, time.monotonic()
    while done < tasks:
        now = _tasks_done(job)
        if now is not None and now > done:
            done, since = now, time.monotonic()
        assert time.monotonic() - since < STALL_SECONDS, f"stands still at {done} tasks\n{job.story()}"
        pause(0.2)


def _complete(job: Job) -> None:
    _wait_for(job, TASKS)
    job.wait("Complete", 60)


def _tasks_done(job: Job) -> int | None:
    """None while the ledger does not answer."""
    query = select(func.count()).where(task.c.job_id == job.id, task.c.ended_at.is_not(None))
    try:
        with transaction(job.installation.database) as connection:
            return connection.execute(query).scalar_one()
    except LedgerUnavailable:
        return None


def _is_tidy(job: Job) -> None:
    """No attempt is open, no worker is left, no Job of ours runs or is unknown to the ledger; the node is well."""
    attempts = attempts_of(job)
    assert all(each.ended_at and each.settled_at for each in attempts), "an attempt is open"
    known = {str(each.id) for each in attempts}

    def gone() -> bool:
        running = [pod for pod in job.pods() if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        return not running and all(_has_finished(each) for each in job.jobs())

    eventually("every worker has ended and every Job is finished or gone", gone, TIDY_SECONDS)
    assert {each["metadata"]["labels"]["adit.dev/attempt"] for each in job.jobs()} <= known
    for node in job.installation.get("nodes"):
        assert {"type": "Ready", "status": "True"}.items() <= _condition(node, "Ready").items()


def _cost(job: Job) -> str:
    """How the attempts ended, and the longest, for people to read."""
    attempts = attempts_of(job)
    ends: Counter[str] = Counter()
    for each in attempts:
        faults = each.report["faults"]
        ends[f"{faults[0]['code']}: {faults[0]['message']}" if faults else each.report["outcome"]] += 1
    longest = max((each.ended_at - each.claimed_at).total_seconds() for each in attempts)
    return f"{len(attempts)} attempts {dict(ends)}, the longest {longest:.0f} s"


def _has_finished(job: Any) -> bool:
    return any(_condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def _condition(thing: Any, kind: str) -> Any:
    return next((each for each in thing["status"].get("conditions", ()) if each["type"] == kind), {})
