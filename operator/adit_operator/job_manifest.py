"""The Kubernetes Job of one attempt: a pure function of the claim and the settings. Called by the launcher.

Everything that is written here comes from a fixed list; nothing is copied from the TransferJob but its name and
uid (for the owner reference), so that nothing about a patient and no GitOps label ever gets into a pod. One Job
is one attempt with one pod: when, and how often, to try again is the ledger's to decide, never Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from adit.ledger.records import Claim
from adit.model.assignment import Assignment
from adit.model.resource import API_VERSION, GROUP
from adit_operator.worker_settings import WorkerSettings

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "adit-operator"
_OWN: Final = {MANAGED_BY: MANAGER, "app.kubernetes.io/component": "worker"}
SELECTOR: Final = ",".join(f"{key}={value}" for key, value in _OWN.items())
"""Selects our Jobs, and our pods."""
_NO_REFRESH: Final = {"argocd.argoproj.io/ignore-resource-updates": "true"}
"""Else each change of each Job and pod makes Argo CD look at the whole application anew."""
JOB_LABEL: Final = f"{GROUP}/job"
TASK_LABEL: Final = f"{GROUP}/task"
ATTEMPT_LABEL: Final = f"{GROUP}/attempt"

TOKEN_VARIABLE: Final = "ADIT_ATTEMPT_TOKEN"  # noqa: S105 - a variable's name
CONTAINER: Final = "worker"
USER: Final = 10001
SPOOL: Final = "/var/spool/adit"
SECRETS: Final = "/var/run/adit/secrets"
CREDENTIALS: Final = "/var/run/adit/credentials"
TERMINATION_LOG: Final = "/dev/termination-log"
RELAY_PORT: Final = 11113
"""Where a worker's mailbox listens for the receiver. The chart's NetworkPolicies open no other port of a worker."""
GRACE_SECONDS: Final = 60
"""From SIGTERM to SIGKILL: the object in flight is stored and the report written."""
WORKER_MARGIN: Final = 120
"""By how many seconds the worker's own deadline comes before its Job's."""


def job_name(task_id: int, number: int) -> str:
    """Made from task and attempt only: it says nothing, and a second launch of an attempt meets the first."""
    return f"adit-{task_id}-{number}"


def attempt_token(job: dict[str, Any]) -> str | None:
    """The token with which a Job of ours was made; None of any other."""
    try:
        variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
    except (KeyError, IndexError, TypeError):
        return None
    return next((each.get("value") for each in variables if each.get("name") == TOKEN_VARIABLE), None)


def is_selected(job: Mapping[str, Any]) -> bool:
    """Whether SELECTOR selects it."""
    labels = job["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in _OWN.items())


def manifest(claim: Claim, settings: WorkerSettings, now: datetime) -> dict[str, Any]:
    """The Job (batch/v1) to be created for the claim."""
    assignment = claim.assignment
    labels = {
        "app.kubernetes.io/name": "adit-worker",
        "app.kubernetes.io/part-of": "adit",
        **_OWN,
        JOB_LABEL: str(assignment.job_id),
        TASK_LABEL: str(assignment.task_id),
        ATTEMPT_LABEL: str(assignment.attempt_id),
    }
    seconds = _attempt_seconds(assignment, settings, now)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(assignment.task_id, assignment.number),
            "namespace": assignment.namespace,
            "labels": labels,
            "annotations": _NO_REFRESH,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "TransferJob",
                    "name": assignment.job_name,
                    "uid": str(assignment.job_id),
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            # One attempt is one pod. A replacement would be a second worker of the attempt, which the ledger fences;
            # so a disrupted pod ends its Job at once, and the ledger's next attempt goes on where it stopped.
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            # The backstop of the backstop: it deletes the pod and with it what the pod could tell.
            "activeDeadlineSeconds": settings.start_seconds + seconds + 2 * WORKER_MARGIN,
            "ttlSecondsAfterFinished": settings.ttl_seconds_after_finished,
            "template": {
                "metadata": {
                    "labels": settings.pod.labels | labels,
                    "annotations": settings.pod.annotations | _NO_REFRESH,
                },
                "spec": _pod(claim, settings, seconds),
            },
        },
    }


def _attempt_seconds(assignment: Assignment, settings: WorkerSettings, now: datetime) -> int:
    """How long the worker may take; it watches this itself, and the job's deadline."""
    if assignment.deadline is None:
        return settings.attempt_seconds
    return max(1, min(settings.attempt_seconds, int((assignment.deadline - now).total_seconds())))


def _pod(claim: Claim, settings: WorkerSettings, seconds: int) -> dict[str, Any]:
    size = settings.size_class(claim.known_bytes, claim.outgrown)
    secrets = _secrets(claim.assignment)
    volumes: list[dict[str, Any]] = [
        {"name": "spool", "emptyDir": {"sizeLimit": size.spool}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": [_login(settings)]}},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "spool", "mountPath": SPOOL},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
    ]
    if secrets:
        volumes.append({"name": "secrets", "projected": {"defaultMode": 0o440, "sources": _projected(secrets)}})
        mounts.append({"name": "secrets", "mountPath": SECRETS, "readOnly": True})
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        # Counted from before its image is pulled; the worker counts from its own start.
        "activeDeadlineSeconds": settings.start_seconds + seconds + WORKER_MARGIN,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "serviceAccountName": settings.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "imagePullPolicy": settings.image_pull_policy,
                "env": _environment(claim.assignment, settings, seconds, bool(secrets)),
                "resources": size.resources,
                "terminationMessagePath": TERMINATION_LOG,
                "terminationMessagePolicy": "File",  # the end of a log could name a patient
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [*mounts, *settings.pod.volume_mounts],
            }
        ],
        "volumes": [*volumes, *settings.pod.volumes],
        "nodeSelector": settings.pod.node_selector,
        "tolerations": settings.pod.tolerations,
        "affinity": settings.pod.affinity,
        "topologySpreadConstraints": settings.pod.topology_spread_constraints,
        "priorityClassName": settings.pod.priority_class_name,
    }
    return {key: value for key, value in pod.items() if value not in ({}, [], "")}


def _environment(
    assignment: Assignment, settings: WorkerSettings, seconds: int, with_secrets: bool
) -> list[dict[str, Any]]:
    """The token is a fence, no credential: without the database's login, which is in a Secret, it opens nothing."""
    plain = {
        "ADIT_ATTEMPT": str(assignment.attempt_id),
        TOKEN_VARIABLE: str(assignment.token),
        "ADIT_CREDENTIALS": CREDENTIALS,
        "ADIT_SPOOL": SPOOL,
        "ADIT_SPOOL_COUNTED": "1",
        "ADIT_ATTEMPT_SECONDS": str(seconds),
        "ADIT_TERMINATION_LOG": TERMINATION_LOG,
        "ADIT_RELAY_PORT": str(RELAY_PORT),
        "MALLOC_ARENA_MAX": "2",  # else each of a worker's threads keeps an arena, and memory grows with them
    } | ({"ADIT_SECRETS": SECRETS} if with_secrets else {})
    own_address = {"fieldRef": {"fieldPath": "status.podIP"}}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        {"name": "ADIT_RELAY_HOST", "valueFrom": own_address},
    ]


def _login(settings: WorkerSettings) -> dict[str, Any]:
    """The ledger's login, as a file and no variable: an environment is shown to every child, dump and debugger.

    Optional, so that a worker can say at once that it is missing; else its pod would wait without a word.
    """
    item = {"key": settings.database.key, "path": "ADIT_DATABASE_URL"}
    return {"secret": {"name": settings.database.secret_name, "optional": True, "items": [item]}}


def _secrets(assignment: Assignment) -> dict[str, list[str]]:
    """The Secrets that its two nodes and its profile name with the keys that they use, and no others."""
    named: dict[str, set[str]] = {}
    asking = [assignment.source.spec.secrets, assignment.destination.spec.secrets]
    if assignment.profile is not None:
        asking.append(assignment.profile.spec.secrets)
    for asked in asking:
        for name, keys in asked.items():
            named.setdefault(name, set()).update(keys)
    return {name: sorted(named[name]) for name in sorted(named)}


def _projected(secrets: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """One folder for each Secret; a key that a Secret lacks is told by the worker, with who names it and the cure."""
    return [
        {
            "secret": {
                "name": name,
                "optional": True,
                "items": [{"key": key, "path": f"{name}/{key}"} for key in keys],
            }
        }
        for name, keys in secrets.items()
    ]
