"""Why a worker's pod ended, does not start, or never came to be: pure readings of Job and Pod objects.

Called by the launcher. The worker's report in the ledger is the truth; this is what is left to say where a
report is missing. Read from conditions, reasons and exit codes, which are API vocabulary, and from the worker's
termination message, which is ours; never from words that are meant for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from adit.model.outcome import EXIT_CODES, EXIT_CONTRACT_MISMATCH, Fault, FaultCode, Outcome

Object = Mapping[str, Any]

_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ErrImageInspect"}
)
_START: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun"}
)
_DISRUPTIONS: Final = {
    "PreemptionByScheduler": FaultCode.PREEMPTED,
    "DeletionByTaintManager": FaultCode.MACHINE_LOST,
    "DeletionByPodGC": FaultCode.MACHINE_LOST,
    "EvictionByEvictionAPI": FaultCode.EVICTED,
    "TerminationByKubelet": FaultCode.EVICTED,
}
_INTERRUPTIONS: Final = frozenset({FaultCode.OUT_OF_DISK, *_DISRUPTIONS.values()})
_KILLED: Final = 137
_CODES: Final = frozenset(map(str, FaultCode))
_TOLD: Final = 3  # of the codes in a last word

_WORDS: Final = {
    FaultCode.OUT_OF_MEMORY: (
        "The worker was killed because it used more memory than its limit.",
        "A next attempt gets the next size class; if this was the largest, raise its memory limit.",
    ),
    FaultCode.OUT_OF_DISK: (
        "The worker's pod was evicted because it used more disk than its limit.",
        "A next attempt gets the next size class; if this was the largest, raise its spool and ephemeral storage.",
    ),
    FaultCode.EVICTED: (
        "The worker's pod was evicted: its machine ran short, is drained or shuts down.",
        "If it happens often, give the machines more room, or workers a priority class.",
    ),
    FaultCode.PREEMPTED: (
        "The worker's pod was preempted by one of higher priority.",
        "A priority class for workers prevents it.",
    ),
    FaultCode.MACHINE_LOST: (
        "The machine on which the worker ran is gone.",
        "If it happens often, look at the cluster's machines.",
    ),
    FaultCode.WORKER_DELETED: (
        "The worker's Job or pod was deleted.",
        "Let nobody delete what is a job's: to end it, cancel the TransferJob.",
    ),
    FaultCode.CONTRACT_MISMATCH: (
        "The worker did not understand its orders, or the attempt was no longer its own.",
        "Give workers the image of the operator's version.",
    ),
    FaultCode.IMAGE_UNAVAILABLE: (
        "The worker's image cannot be pulled.",
        "Correct worker.image in the chart's values, or the pull secret.",
    ),
    FaultCode.UNSCHEDULABLE: (
        "No machine has room for the worker's pod.",
        "Add room, or make the worker's size class smaller.",
    ),
    FaultCode.START_FAILED: (
        "The worker's container cannot be started.",
        "Look at the pod's events and log; the Secret with the database's login may be missing in its namespace.",
    ),
    FaultCode.POD_REFUSED: (
        "Kubernetes makes no pod for the worker's Job.",
        "Look at the Job's events: a quota, a policy or a missing service account.",
    ),
}


def fault_of(code: FaultCode) -> Fault:
    """The fault in the words that go with its code."""
    message, cure = _WORDS[code]
    return Fault(code=code, message=message, cure=cure)


def has_finished(job: Object) -> bool:
    """Whether the Job is Complete or Failed: with podReplacementPolicy Failed no pod of it runs any more."""
    return any(_is_true(job, kind) for kind in ("Complete", "Failed"))


def has_failed(job: Object) -> bool:
    return _is_true(job, "Failed")


def was_disrupted(job: Object | None) -> bool:
    """By the only rule of our Jobs' podFailurePolicy: the pod had the condition DisruptionTarget."""
    return job is not None and _reason(job, "Failed") == "PodFailurePolicy"


def runs(pod: Object) -> bool:
    """Whether a container of the pod may still act. A pod on a lost machine may."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def has_pod(job: Object) -> bool:
    """Whether a pod was ever made for the Job, as far as its status says."""
    status = job.get("status") or {}
    counts = ("active", "terminating", "succeeded", "failed")
    return any(status.get(count) for count in counts) or bool(status.get("conditions"))


def why_ended(job: Object | None, pods: Sequence[Object], *, begun: bool, overdue: bool) -> Fault:
    """What ended an attempt without a report.

    `job` is None if it is not there; `begun`: the worker had reported to the ledger; `overdue`: its job's
    deadline has passed.
    """
    for pod in pods:
        fault = _of_pod(pod)
        if fault is not None:
            return fault
    if job is not None and _reason(job, "Failed") == "DeadlineExceeded":
        return _overran(overdue)
    if not pods and was_disrupted(job):
        return fault_of(FaultCode.EVICTED)
    if not pods and (begun or job is not None):
        return fault_of(FaultCode.WORKER_DELETED)
    if not pods:
        return _lost("The worker's Job was never made, or was deleted before the worker began.")
    return _lost("The worker ended without a report.")


def why_interrupted(pods: Sequence[Object], job: Object | None = None) -> Fault | None:
    """Why a worker that could still report was told to end; None if nothing but its own end is to be seen.

    Where the pod is gone already, its `job` still tells that it was disrupted, and no more.
    """
    for pod in pods:
        fault = _of_pod(pod)
        if fault is not None and fault.code in _INTERRUPTIONS:
            return fault
    return fault_of(FaultCode.EVICTED) if not pods and was_disrupted(job) else None


def why_waiting(pod: Object) -> Fault | None:
    """What keeps a pod from running, if something does; None of one that runs, or just takes its time."""
    for state in _container_states(pod):
        reason = (state.get("waiting") or {}).get("reason")
        if reason in _IMAGE:
            return fault_of(FaultCode.IMAGE_UNAVAILABLE)
        if reason in _START:
            return fault_of(FaultCode.START_FAILED)
    if _condition(pod, "PodScheduled").get("reason") == "Unschedulable":
        return fault_of(FaultCode.UNSCHEDULABLE)
    return None


def age(thing: Object, now: datetime) -> float:
    """Seconds since the API server made it, by both clocks; never negative."""
    created = datetime.fromisoformat(str(thing["metadata"]["creationTimestamp"]))
    return max(0.0, (now - created).total_seconds())


def _of_pod(pod: Object) -> Fault | None:
    status = pod.get("status") or {}
    disruption = _condition(pod, "DisruptionTarget")
    ended = [state["terminated"] for state in _container_states(pod) if state.get("terminated")]
    if any(each.get("reason") == "OOMKilled" for each in ended):
        return fault_of(FaultCode.OUT_OF_MEMORY)
    if disruption.get("status") == "True":
        return fault_of(_DISRUPTIONS.get(str(disruption.get("reason")), FaultCode.EVICTED))
    if status.get("reason") == "Evicted":  # by the kubelet, and not for the machine's sake: for its own limits
        return fault_of(FaultCode.OUT_OF_DISK)
    if status.get("reason") == "DeadlineExceeded":
        return _overran(overdue=False)
    if status.get("reason") == "NodeLost":
        return fault_of(FaultCode.MACHINE_LOST)
    return next((_of_exit(each) for each in ended), None)


def _of_exit(terminated: Mapping[str, Any]) -> Fault:
    code, reason = int(terminated.get("exitCode", 0)), str(terminated.get("reason", ""))
    word = _last_word(str(terminated.get("message", "")))
    if word is not None:
        return word
    if code == EXIT_CONTRACT_MISMATCH:
        return fault_of(FaultCode.CONTRACT_MISMATCH)
    if reason in _START:
        return fault_of(FaultCode.START_FAILED)
    if code == _KILLED:
        return _lost("The worker was killed.")
    if code == EXIT_CODES[Outcome.CANCELLED]:
        return _lost("The worker was stopped and could not write its report.")
    if code in EXIT_CODES.values():
        return _lost(f"The worker ended with exit code {code} and could not write its report.")
    return _lost(f"The worker crashed with exit code {code}.")


def _last_word(message: str) -> Fault | None:
    """Why the worker itself says that its report is missing (adit_worker.last_word); None if it says nothing of it.

    It may be cut, or anybody's: only words of our own vocabulary are passed on, and none of them can make a success.
    """
    try:
        word = json.loads(message)
    except (ValueError, RecursionError):
        return None
    ended = word.get("ended") if isinstance(word, dict) else None
    if ended in ("contract-mismatch", "fenced"):
        return fault_of(FaultCode.CONTRACT_MISMATCH)
    if ended == "no-login":
        return fault_of(FaultCode.START_FAILED)
    if ended == "ledger-unavailable":
        return _lost("The worker could not reach the database to begin.")
    if ended not in ("report-not-written", "ledger-refused"):
        return None
    faults = word.get("faults")
    given = (each for each in faults if isinstance(each, str)) if isinstance(faults, list) else ()
    codes = [each for each in given if each in _CODES][:_TOLD]
    met = f" It had met {', '.join(codes)}." if codes else ""
    why = "could not be written" if ended == "report-not-written" else "was refused by the database"
    return _lost(f"The worker's report {why}.{met}")


def _overran(overdue: bool) -> Fault:
    if overdue:
        return Fault(
            code=FaultCode.DEADLINE_EXCEEDED,
            message="The job's deadline passed, and the worker had to be ended by Kubernetes.",
            cure="Make a new job with selection.failedOf and a later deadline.",
        )
    return _lost("The worker did not end in its time and was ended by Kubernetes.")


def _lost(message: str) -> Fault:
    return Fault(
        code=FaultCode.LOST,
        message=message,
        cure="If this repeats, look at the pod's log.",
    )


def _container_states(pod: Object) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        yield container.get("state") or {}


def _condition(thing: Object, kind: str) -> Mapping[str, Any]:
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def _is_true(thing: Object, kind: str) -> bool:
    return _condition(thing, kind).get("status") == "True"


def _reason(thing: Object, kind: str) -> str | None:
    condition = _condition(thing, kind)
    return condition.get("reason") if condition.get("status") == "True" else None
