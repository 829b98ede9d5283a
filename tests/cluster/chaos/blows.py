"""Each way in which a part of the system dies and comes back. Called by test_chaos.py, by the kind's name.

A blow returns when the part is back and says what it did. Which pod is hit, how, and for how long something stays away
comes from the dice that it is given.
"""

from __future__ import annotations

import json
import signal
import threading
import urllib.request
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from tests.cluster.attempts import attempts_of
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually, rig
from tests.cluster.processes import kill_processes

_BACK_SECONDS: Final = 150
_TAKE_OVER_SECONDS: Final = 90
_WORKERS_AT_ONCE: Final = 3
_SHORT, _LONG = (0.2, 4.0), (8.0, 14.0)
"""How long the kubelet or the API server stays away, in seconds; the long ones outlast a Lease's renewal."""

Blow = Callable[[Job, Random], str]


def worker_deleted(job: Job, chance: Random) -> str:
    def delete(pods: list[Any]) -> None:
        names = [pod["metadata"]["name"] for pod in pods]
        job.installation.kubectl("delete", "pod", *names, "--wait=false", "--ignore-not-found", *_manner(chance))

    return f"deleted {_strike_workers(job, chance, delete)}"


def worker_killed(job: Job, chance: Random) -> str:
    def kill(pods: list[Any]) -> None:
        for pod in pods:
            kill_processes(pod)

    return f"killed {_strike_workers(job, chance, kill)}"


def operator(job: Job, chance: Random) -> str:
    return _component(job, "operator", chance)


def operators(job: Job, chance: Random) -> str:
    """Both, with no other to take over."""
    job.installation.scale("operator", 2)
    return _component(job, "operator", chance, number=2)


def facade(job: Job, chance: Random) -> str:
    """It answers when it is back, with what the cluster says."""
    did = _component(job, "api", chance)
    told = eventually("the facade shows the job", lambda: _told_by_facade(job), 30)
    assert told["uid"] == job.uid
    return did


def postgres(job: Job, chance: Random) -> str:
    return _component(job, "postgres", chance)


def kubelet(job: Job, chance: Random) -> str:
    return _node_program("kubelet", chance)


def kube_apiserver(job: Job, chance: Random) -> str:
    return _node_program("kube-apiserver", chance)


def source(job: Job, chance: Random) -> str:
    """Killed in its pod: what it holds is as good as on a disk."""
    return _component(job, "sandbox", chance, labels="adit.dev/sandbox=pacs", kill=True)


def destination(job: Job, chance: Random) -> str:
    return _component(job, "sandbox", chance, labels="adit.dev/sandbox=research", kill=True)


def frozen_leader(job: Job, chance: Random) -> str:
    """Stopped as by a hypervisor, past its Lease; another leads; then it goes on, in the middle of what it did."""
    job.installation.scale("operator", 2)
    holder = eventually("one leads", lambda: job.installation.leader(), _TAKE_OVER_SECONDS)
    pod = next(each for each in job.installation.running("operator") if each["metadata"]["name"] == holder)
    frozen = kill_processes(pod, signal.SIGSTOP)
    assert frozen, f"{holder} has no process"
    try:
        after = eventually("another leads", lambda: {job.installation.leader()} - {holder, ""}, _TAKE_OVER_SECONDS)
        pause(chance.uniform(0, 3))
    finally:
        kill_processes(pod, signal.SIGCONT)
    _await_back(job.installation, "operator", 2, struck=())
    return f"froze {holder}; then {after.pop()} led"


def anything(job: Job, chance: Random) -> str:
    return chance.choice((worker_deleted, worker_killed, operator, postgres, kubelet, source, destination))(job, chance)


BLOWS: Final[Mapping[str, Blow]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        worker_deleted, worker_killed, operator, operators, frozen_leader, facade, postgres, kubelet, kube_apiserver,
        source, destination, anything,
    )
}  # fmt: skip


def _manner(chance: Random) -> tuple[str, ...]:
    """Of a deletion: with the pod's grace, or as when its machine is lost."""
    return chance.choice(((), ("--force", "--grace-period=0")))


def _strike_workers(job: Job, chance: Random, strike: Callable[[list[Any]], None]) -> list[str]:
    """One to three that are at work; again, until one of those that were hit did not get to its end."""

    def struck() -> list[str]:
        at_work = {str(each.id) for each in attempts_of(job) if each.begun_at is not None and each.ended_at is None}
        pods = [pod for pod in job.pods() if _attempt(pod) in at_work and "deletionTimestamp" not in pod["metadata"]]
        chosen = chance.sample(pods, min(len(pods), chance.randint(1, _WORKERS_AT_ONCE)))
        if not chosen:
            return []
        strike(chosen)
        hit = {_attempt(pod) for pod in chosen}
        ended = eventually("the attempts that were hit have ended", lambda: _ended(job, hit), _BACK_SECONDS)
        return [pod["metadata"]["name"] for pod in chosen] if any(each.report["faults"] for each in ended) else []

    return eventually("a worker was hit at work", struck, _BACK_SECONDS)


def _ended(job: Job, ids: Collection[str]) -> list[Any]:
    """Those attempts, once all of them have ended."""
    ended = [each for each in attempts_of(job) if str(each.id) in ids and each.ended_at is not None]
    return ended if len(ended) == len(ids) else []


def _attempt(pod: Any) -> str:
    return str(pod["metadata"]["labels"]["adit.dev/attempt"])


def _component(
    job: Job, component: str, chance: Random, *, labels: str = "", number: int = 1, kill: bool | None = None
) -> str:
    """Kills its processes or deletes its pods, all of them, and waits until as many others are ready."""
    installation = job.installation
    pods = eventually(f"{component} is there", lambda: installation.running(component, labels), _BACK_SECONDS)
    struck = {_container(pod) for pod in pods}
    names = [pod["metadata"]["name"] for pod in pods]
    by_kill = chance.random() < 0.5 if kill is None else kill
    if by_kill:
        found = [kill_processes(pod) for pod in pods]
        assert all(found), f"{names} have no processes: {found}"
    else:
        installation.kubectl("delete", "pod", *names, "--wait=false", *_manner(chance))
    _await_back(installation, component, number, struck, labels)
    return f"{'killed' if by_kill else 'deleted'} {names}"


def _await_back(
    installation: Installation, component: str, number: int, struck: Collection[str], labels: str = ""
) -> None:
    def back() -> bool:
        ready = {_container(pod) for pod in installation.running(component, labels) if _is_ready(pod)}
        return len(ready - set(struck)) == len(ready) == number

    eventually(f"{component} is back", back, _BACK_SECONDS)


def _node_program(name: str, chance: Random) -> str:
    seconds = chance.uniform(*(_LONG if chance.random() < 0.2 else _SHORT))
    rig("kill", name)
    try:
        pause(seconds)
    finally:
        rig("start", name)
    return f"killed {name} for {seconds:.1f} s"


def pause(seconds: float) -> None:
    """So long, and no condition ends it: an outage, or the time until the next."""
    threading.Event().wait(seconds)


def _container(pod: Any) -> str:
    """Another one after every death, whether the pod survived it or not."""
    states = pod["status"].get("containerStatuses") or [{}]
    return str(states[0].get("containerID") or pod["metadata"]["uid"])


def _is_ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _told_by_facade(job: Job) -> Any:
    installation = job.installation
    url = f"http://{installation.release}-api.{installation.namespace}.svc/v1/transferjobs"
    request = urllib.request.Request(
        f"{url}/{installation.namespace}/{job.name}", headers={"Authorization": f"Bearer {_token(installation)}"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def _token(installation: Installation) -> str:
    now = datetime.now(UTC)
    name = f"chaos-{now.timestamp()}"
    made = installation.ledger.create_token(name, ["read"], None, now + timedelta(hours=1), now)
    assert made is not None
    return made
