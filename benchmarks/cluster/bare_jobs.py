"""The anchor: Jobs that run /bin/true in our worker's image, under the same Pod Security. Nobody can be faster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from adit_operator.kubernetes_api import JOBS, KubernetesApi
from benchmarks.cluster.watching import Object, Watching, has_started, is_complete
from tests.cluster.kubernetes import Kubernetes

_LABELS: Final = "bench=bare"


def bare_job(name: str, namespace: str) -> Object:
    """`restricted` lets it in; no volumes, no limits."""
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "it",
                "image": Kubernetes().image("adit-worker"),
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/true"],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": {"bench": "bare"}},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"bench": "bare"}}, "spec": pod}},
    }


@dataclass(frozen=True, slots=True)
class Applied:
    started: float  # seconds from `kubectl apply` to the news that its container runs or has run
    completed: float


def apply_one(namespace: str, name: str) -> Applied:
    """One bare Job by `kubectl apply`."""
    jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"
    with Watching(jobs, _LABELS) as job_news, Watching(pods, _LABELS) as pod_news:
        begun = time.perf_counter()
        Kubernetes().apply(bare_job(name, namespace))
        completed = next(at for at, _, job in job_news.changes(60) if is_complete(job)) - begun
        started = next(at for at, _, pod in pod_news.changes(60) if has_started(pod)) - begun
    delete_all(namespace)
    return Applied(started, completed)


def run_many(namespace: str, number: int, at_once: int) -> float:
    """Seconds from the first creation to the last completion; the next is made as soon as one is complete."""
    api = KubernetesApi()
    with Watching(f"/apis/batch/v1/namespaces/{namespace}/jobs", _LABELS) as news:
        begun = time.perf_counter()
        for index in range(at_once):
            api.create(JOBS, namespace, bare_job(f"bare-{index}", namespace))
        complete: set[str] = set()
        for at, _, job in news.changes(600):
            name = job["metadata"]["name"]
            if not is_complete(job) or name in complete:
                continue
            complete.add(name)
            created = at_once + len(complete) - 1
            if created < number:
                api.create(JOBS, namespace, bare_job(f"bare-{created}", namespace))
            if len(complete) == number:
                seconds = at - begun
                break
    api.close()
    return seconds


def delete_all(namespace: str) -> None:
    """And their pods; returns when they are gone."""
    Kubernetes().kubectl("delete", "jobs", "-n", namespace, "-l", _LABELS, "--cascade=foreground", timeout=300)
