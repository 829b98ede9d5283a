"""Keeps the status of every open TransferJob, DicomNode and DeidProfile as the ledger has it, and few writes.

The operator's main loop tells it of resources and calls `write_due` each second from a thread of its own.
What turns a job takes is written at once, mere numbers at most every few seconds, and nothing that stands
there already. Jobs that have ended cost nothing: their status is in the cluster and they are forgotten, until somebody
else writes to them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final
from uuid import UUID

import structlog

from adit.dispatch.accept import accept, missing_node
from adit.ledger.connection import LedgerUnavailable
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobStage, JobSummary, NodeKey, ProfileKey
from adit.model.condition import JOB_CONDITIONS, NODE_CONDITIONS, WHILE_TRUE
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings
from adit.model.outcome import Fault
from adit.model.state import TaskState
from adit_operator.cluster_events import ClusterEvents, Regarding
from adit_operator.job_status import JobView, job_status
from adit_operator.kubernetes_api import (
    DEID_PROFILES,
    DICOM_NODES,
    OURS,
    TRANSFER_JOBS,
    ApiRefused,
    Kind,
    KubernetesApi,
    Refusal,
)
from adit_operator.metrics import STATUS_WRITES
from adit_operator.node_status import NodeView, node_status
from adit_operator.problem import Problem
from adit_operator.profile_status import ProfileView, profile_status

COUNTERS: Final = timedelta(seconds=5)
"""How often mere numbers are written, at most, for each job."""
NODE_COUNTERS: Final = timedelta(seconds=10)
LINGER: Final = timedelta(seconds=10)
"""How long after its last attempt ended a job's numbers may still change."""
REFRESH: Final = timedelta(seconds=60)
"""How often a job is looked at though nothing hints at a change."""
AT_ONCE: Final = 200
"""How many resources are looked at in one pass: the others come first in the next."""
COMPARED: Final = 1000
"""How many resources are kept in memory at most while ended jobs of before this start are still to be compared."""

_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(seconds=60)
_REMEMBERED: Final = timedelta(seconds=60)  # as old events of a resource may arrive late
_OURS: Final = tuple(dict.fromkeys(str(each) for each in (*JOB_CONDITIONS, *NODE_CONDITIONS, *WHILE_TRUE)))
"""The condition types that we write, in our order."""
_log = structlog.get_logger()

Status = dict[str, Any]


@dataclass(slots=True)
class _Open:
    """A resource whose status may have to be written, and what was written last."""

    regarding: Regarding
    generation: int
    source: NodeKey | None  # of a job
    destination: NodeKey | None
    profile: ProfileKey | None
    status: Status | None
    problem: Problem | None
    news: bool = True  # to be looked at in the next pass
    hinted: bool = False  # its numbers are said to have changed
    drifted: bool = False  # the cluster shows something else than what was written
    compared: bool = False  # it is open only to see whether what stands there is so
    stage: JobStage | None = None
    trouble: Fault | None = None
    active: int = 0
    active_at: datetime | None = None  # when an attempt was last seen
    looked_at: datetime | None = None
    written_at: datetime | None = None
    version: str | None = None  # the resourceVersion of the object as it was last seen or written
    failures: int = 0
    not_before: datetime | None = None
    measured: tuple[datetime, int] | None = None
    bytes_per_second: int | None = None


@dataclass(slots=True)
class _Pass:
    """What one pass has asked of the ledger for all jobs together."""

    ledger: Ledger
    _nodes: dict[NodeKey, DicomNode] | None = field(default=None)
    _profiles: dict[ProfileKey, DeidProfile] | None = field(default=None)
    _findings: dict[NodeKey, Findings] | None = field(default=None)

    @property
    def nodes(self) -> Mapping[NodeKey, DicomNode]:
        if self._nodes is None:
            self._nodes = {node.key: node for node in self.ledger.nodes()}
        return self._nodes

    @property
    def profiles(self) -> Mapping[ProfileKey, DeidProfile]:
        if self._profiles is None:
            self._profiles = {profile.key: profile for profile in self.ledger.profiles()}
        return self._profiles

    @property
    def findings(self) -> Mapping[NodeKey, Findings]:
        if self._findings is None:
            self._findings = self.ledger.findings()
        return self._findings


class StatusWriter:
    """`seen`, `gone` and `touch` may be called by any thread, `write_due` by one at a time."""

    def __init__(
        self,
        ledger: Ledger,
        api: KubernetesApi,
        events: ClusterEvents,
        trouble: Callable[[UUID], Fault | None] = lambda job_id: None,
    ) -> None:
        """`trouble` tells why a job's tasks cannot be started now, from memory: it is asked each second."""
        self._ledger = ledger
        self._api = api
        self._events = events
        self._trouble = trouble
        self._lock = Lock()
        self._open: dict[str, _Open] = {}
        self._ended: OrderedDict[str, tuple[int, datetime]] = OrderedDict()  # generation, and when it was forgotten
        self._proven: dict[str, str] = {}  # of jobs that have ended: the version whose status is as the ledger has it
        self._not_before: datetime | None = None
        self._failures = 0

    # --- what the main loop tells ---

    def seen(self, body: Mapping[str, Any], problem: Problem | None = None) -> None:
        """A TransferJob, DicomNode or DeidProfile as an event or a list has it, after it was applied to the ledger.

        `problem` is what kept this generation out of the ledger; without one it is in there.
        """
        metadata, status = body["metadata"], body.get("status")
        uid, generation = metadata["uid"], int(metadata.get("generation", 0))
        with self._lock:
            entry = self._open.get(uid)
            if entry is None:
                if problem is None and self._was_settled(uid, generation):
                    return
                settled = problem is None and is_settled(status, generation)
                if not settled or self._is_to_prove(uid, metadata.get("resourceVersion")):
                    self._open[uid] = entry = _entry(body, generation, problem)
                    entry.compared = settled
                    if entry.regarding.kind != TRANSFER_JOBS:
                        self._tell_users_of(entry.regarding)
                return
            if generation < entry.generation:
                return  # an old event that arrives late
            if (generation, problem) != (entry.generation, entry.problem):
                entry.generation, entry.problem, entry.news = generation, problem, True
            entry.version = metadata.get("resourceVersion")
            shown = _ours(status)
            if entry.written_at is None:
                entry.status = shown
            else:
                entry.drifted = {name: (shown or {}).get(name) for name in entry.status or ()} != entry.status

    def gone(self, uid: str) -> None:
        """The resource was deleted."""
        with self._lock:
            gone = self._open.pop(uid, None)
            self._ended.pop(uid, None)
            self._proven.pop(uid, None)
            if gone is not None and gone.regarding.kind != TRANSFER_JOBS:
                self._tell_users_of(gone.regarding)

    def touch(self, uid: str) -> None:
        """Something happened to the job in the ledger: its numbers may have changed."""
        with self._lock:
            entry = self._open.get(uid)
            if entry is not None:
                entry.hinted = True

    def _tell_users_of(self, named: Regarding) -> None:
        """A node or profile came or went: the jobs that name it may have got, or lost, what keeps them waiting."""
        key = named.namespace, named.name
        for entry in self._open.values():
            names = (entry.source, entry.destination) if named.kind == DICOM_NODES else (entry.profile,)
            if key in names:
                entry.news = True

    def uids(self) -> set[str]:
        """Of the resources that are kept in memory."""
        with self._lock:
            return set(self._open)

    @property
    def open(self) -> int:
        """How many resources are kept in memory."""
        return len(self._open)

    # --- the pass ---

    def write_due(self, now: datetime) -> None:
        """Looks at what may have changed and writes what has. Never raises what a later call can mend."""
        if self._not_before is not None and now < self._not_before:
            return
        self._not_before = None
        self._forget_ended(now)
        try:
            self._write_due(now)
        except LedgerUnavailable:
            self._failures += 1
            self._not_before = now + _backoff(self._failures)
            _log.warning("status waits for the ledger", failures=self._failures)
        self._events.post_due(now)

    def _write_due(self, now: datetime) -> None:
        with self._lock:
            entries = list(self._open.values())
        if not entries:
            return
        jobs = {UUID(each.regarding.uid): each for each in entries if each.regarding.kind == TRANSFER_JOBS}
        running = Counter(attempt.job_id for attempt in self._ledger.running())
        stages = self._ledger.stages(jobs) if jobs else {}
        due: list[_Open] = []
        for job_id, entry in jobs.items():
            self._notice(entry, stages.get(job_id), running[job_id], self._trouble(job_id), now)
            if (entry.stage is not None or entry.problem is not None) and _is_job_due(entry, now):
                due.append(entry)
        busy = _active_tasks(jobs.values())
        for entry in entries:
            if entry.regarding.kind == DICOM_NODES:
                entry.active = busy[(entry.regarding.namespace, entry.regarding.name)]
                if _is_node_due(entry, now):
                    due.append(entry)
            elif entry.regarding.kind == DEID_PROFILES and _is_profile_due(entry, now):
                due.append(entry)
        due.sort(key=lambda each: (each.compared, not each.news, each.looked_at is not None, each.looked_at or now))
        current = _Pass(self._ledger)
        for entry in due[:AT_ONCE]:
            if not self._look(entry, current, now):
                return
        self._failures = 0

    def _notice(self, entry: _Open, stage: JobStage | None, active: int, trouble: Fault | None, now: datetime) -> None:
        """Anything but a mere number makes the job news."""
        started_or_stopped = (active > 0) != (entry.active > 0)
        if stage != entry.stage or trouble != entry.trouble or started_or_stopped:
            entry.news = True
        entry.stage, entry.trouble, entry.active = stage, trouble, active
        if active > 0:
            entry.active_at = now

    def _look(self, entry: _Open, current: _Pass, now: datetime) -> bool:
        """False if the pass had better end, as the API server takes nothing now."""
        entry.news = entry.hinted = False
        entry.looked_at = now
        try:
            status = self._status(entry, current, now)
        except (LookupError, ValueError) as error:  # of one resource; it must not keep the others from being written
            _log.warning(
                "no status", kind=entry.regarding.kind.name, uid=entry.regarding.uid, error=type(error).__name__
            )
            self._postpone(entry, now, None)
            return True
        if status is None:
            entry.news = entry.regarding.kind != TRANSFER_JOBS  # it is on its way into the ledger
            return True
        if status != entry.status or entry.drifted:
            if _is_turn(entry.status, status) or entry.drifted or _is_past(entry.written_at, COUNTERS, now):
                return self._write(entry, status, now)
            entry.hinted = True  # mere numbers, too soon after the last
            return True
        self._forget_if_settled(entry, now)
        return True

    def _status(self, entry: _Open, current: _Pass, now: datetime) -> Status | None:
        if entry.regarding.kind == DICOM_NODES:
            node = current.nodes.get((entry.regarding.namespace, entry.regarding.name))
            findings = current.findings.get((entry.regarding.namespace, entry.regarding.name), Findings())
            view = NodeView(entry.generation, node, entry.problem, entry.active, findings)
            return node_status(view, entry.status, now)
        if entry.regarding.kind == DEID_PROFILES:
            profile = current.profiles.get((entry.regarding.namespace, entry.regarding.name))
            return profile_status(ProfileView(entry.generation, profile, entry.problem), entry.status, now)
        summary = None if entry.stage is None else self._ledger.summary(UUID(entry.regarding.uid))
        if summary is not None:
            _measure(entry, summary, now)
        return job_status(
            JobView(
                generation=entry.generation,
                summary=summary,
                waiting=None if summary is None else self._waiting(summary, current),
                problem=entry.problem,
                trouble=entry.trouble or (None if summary is None else _missing_node(summary, current.nodes)),
                bytes_per_second=entry.bytes_per_second,
            ),
            entry.status,
            now,
        )

    def _waiting(self, summary: JobSummary, current: _Pass) -> Fault | None:
        """What the dispatcher finds too, when it tries to make the job's tasks."""
        record = summary.record
        if record.expanded_at is not None or record.ended_at is not None or summary.tasks:
            return None
        namespace, selection = record.job.metadata.namespace, record.job.spec.selection
        failed_job = self._ledger.job((namespace, selection.failed_of.name)) if selection.failed_of else None
        listed = self._ledger.selection(namespace, selection.listed) if selection.listed else None
        profiles = () if record.job.spec.deidentification is None else current.profiles
        return accept(record.job, current.nodes, failed_job, listed, profiles=profiles, find_job=self._ledger.job)

    def _write(self, entry: _Open, status: Status, now: datetime) -> bool:
        at = entry.regarding
        try:
            written = self._api.apply_status(at.kind, at.namespace, at.name, status, uid=at.uid)
        except ApiRefused as error:
            if error.refusal is Refusal.NOT_FOUND:
                self.gone(at.uid)
                return True
            _log.warning("status not written", kind=at.kind.name, uid=at.uid, refusal=str(error.refusal))
            self._postpone(entry, now, error.retry_after)
            if error.refusal not in (Refusal.UNAVAILABLE, Refusal.TOO_MANY_REQUESTS):
                return True
            self._failures += 1
            self._not_before = now + max(_backoff(self._failures), timedelta(seconds=error.retry_after or 0))
            return False
        STATUS_WRITES.labels(at.kind.name).inc()
        self._events.tell(at, entry.status, status, now)
        entry.status, entry.written_at, entry.drifted = status, now, False
        entry.version = (written.get("metadata") or {}).get("resourceVersion")
        entry.failures, entry.not_before = 0, None
        self._forget_if_settled(entry, now)
        return True

    def _postpone(self, entry: _Open, now: datetime, retry_after: float | None) -> None:
        entry.news = True
        entry.failures += 1
        entry.not_before = now + max(_backoff(entry.failures), timedelta(seconds=retry_after or 0))

    def _forget_if_settled(self, entry: _Open, now: datetime) -> None:
        with self._lock:
            uid = entry.regarding.uid
            is_last = entry.problem is None and not entry.drifted and is_settled(entry.status, entry.generation)
            if is_last and self._open.pop(uid, None) is not None:
                self._ended[uid] = (entry.generation, now)
                if entry.version is not None:
                    self._proven[uid] = entry.version

    def _is_to_prove(self, uid: str, version: str | None) -> bool:
        """Whether somebody may have written to an ended job since its status was compared with the ledger: right after
        a start that is so of all, and they are compared by and by."""
        proven = self._proven.get(uid)
        return version is not None and version != proven and (proven is not None or len(self._open) < COMPARED)

    def _was_settled(self, uid: str, generation: int) -> bool:
        return uid in self._ended and generation <= self._ended[uid][0]

    def _forget_ended(self, now: datetime) -> None:
        with self._lock:
            while self._ended and now - next(iter(self._ended.values()))[1] >= _REMEMBERED:
                self._ended.popitem(last=False)


def _missing_node(summary: JobSummary, nodes: Mapping[NodeKey, DicomNode]) -> Fault | None:
    """Why nothing more of a job starts that was accepted before: a node that it names went away."""
    record = summary.record
    if record.ended_at is not None or summary.tasks.get(TaskState.PENDING, 0) == 0:
        return None
    return missing_node(record.job, nodes)


def _entry(body: Mapping[str, Any], generation: int, problem: Problem | None) -> _Open:
    metadata, kind = body["metadata"], _kind_of(body)
    namespace = metadata["namespace"]
    source = destination = profile = None
    if kind == TRANSFER_JOBS:
        source, destination = ((namespace, _named(body, end, "node")) for end in ("source", "destination"))
        profile = (namespace, _named(body, "deidentification", "profile"))
    status = _ours(body.get("status"))
    return _Open(
        Regarding(kind, namespace, metadata["name"], metadata["uid"]),
        generation,
        source,
        destination,
        profile,
        status,
        problem,
        version=metadata.get("resourceVersion"),
    )


def _kind_of(body: Mapping[str, Any]) -> Kind:
    return next(kind for kind in OURS if kind.name == body["kind"])


def _named(body: Mapping[str, Any], field: str, what: str) -> str:
    reference = body.get("spec", {}).get(field)
    return str(reference.get(what, "")) if isinstance(reference, Mapping) else ""


def _ours(status: Any) -> Status | None:
    """The part of a status that we write, in our order; None for one that nobody has written."""
    if not isinstance(status, Mapping) or "conditions" not in status:
        return None
    listed = [dict(each) for each in status["conditions"] if isinstance(each, Mapping) and each.get("type") in _OURS]
    return {**status, "conditions": sorted(listed, key=lambda each: _OURS.index(each["type"]))}


def is_settled(status: Any, generation: int) -> bool:
    """Whether the status is the last one that this generation of a job will have."""
    return (
        isinstance(status, Mapping)
        and status.get("completionTime") is not None
        and status.get("observedGeneration") == generation
    )


def _is_job_due(entry: _Open, now: datetime) -> bool:
    if entry.not_before is not None and now < entry.not_before:
        return False
    if entry.news:
        return True
    moving = (
        entry.hinted
        or entry.active > 0
        or not _is_past(entry.active_at, LINGER, now)
        or (entry.stage is not None and not entry.stage.expanded)
    )
    return _is_past(entry.looked_at, COUNTERS if moving else REFRESH, now)


def _is_node_due(entry: _Open, now: datetime) -> bool:
    if entry.not_before is not None and now < entry.not_before:
        return False
    counted = (entry.status or {}).get("activeTasks")
    moved = counted != entry.active and _is_past(entry.written_at, NODE_COUNTERS, now)
    return entry.news or moved or _is_past(entry.looked_at, REFRESH, now)


def _is_profile_due(entry: _Open, now: datetime) -> bool:
    if entry.not_before is not None and now < entry.not_before:
        return False
    return entry.news or _is_past(entry.looked_at, REFRESH, now)


def _active_tasks(jobs: Iterable[_Open]) -> Counter[NodeKey]:
    """How many attempts use each node; a job's source and destination differ."""
    counted: Counter[NodeKey] = Counter()
    for entry in jobs:
        for end in (entry.source, entry.destination):
            if end is not None:
                counted[end] += entry.active
    return counted


def _measure(entry: _Open, summary: JobSummary, now: datetime) -> None:
    """Bytes a second between two looks, far enough apart to tell; nothing while no attempt runs."""
    if not entry.active:
        entry.measured = entry.bytes_per_second = None
    elif entry.measured is None:
        entry.measured = (now, summary.bytes_stored)
    elif now - entry.measured[0] >= COUNTERS:
        since, before = entry.measured
        entry.bytes_per_second = max(0, int((summary.bytes_stored - before) / (now - since).total_seconds()))
        entry.measured = (now, summary.bytes_stored)


def _is_turn(before: Status | None, after: Status) -> bool:
    """Whether more than numbers changed."""
    if before is None:
        return True
    return any(
        before.get(name) != after.get(name) for name in ("observedGeneration", "conditions", "state", "completionTime")
    )


def _is_past(since: datetime | None, wait: timedelta, now: datetime) -> bool:
    return since is None or now - since >= wait


def _backoff(failures: int) -> timedelta:
    return min(_LONGEST_PAUSE, _PAUSE * float(2 ** min(failures - 1, 10)))
