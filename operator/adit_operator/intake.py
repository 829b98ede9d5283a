"""From the cluster into the ledger: each resource as an event brings it, and all of them as lists do.

Called by the watch for every event, and by `main` for the full sweep. Level-triggered: what an event missed, the next
sweep mends; what was taken before is taken again without effect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import ValidationError

from adit.ledger.connection import LedgerError, LedgerUnavailable
from adit.ledger.ledger import Ledger, ResourceConflict
from adit.ledger.records import Applied
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob
from adit_operator.kubernetes_api import DEID_PROFILES, DICOM_NODES, TRANSFER_JOBS, ApiRefused, Kind, KubernetesApi
from adit_operator.metrics import SWEEP_CORRECTIONS
from adit_operator.ownership import Ownership
from adit_operator.problem import Problem, change_refused, invalid, unusable
from adit_operator.status_writer import StatusWriter, is_settled

_log = structlog.get_logger(__name__)

_MODELS: Final[dict[Kind, type[TransferJob] | type[DicomNode] | type[DeidProfile]]] = {
    TRANSFER_JOBS: TransferJob,
    DICOM_NODES: DicomNode,
    DEID_PROFILES: DeidProfile,
}
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole manifest; the ledger has the manifest itself."""


class Intake:
    """Threads may share it; of one object no two calls may be made at once."""

    def __init__(
        self,
        ledger: Ledger,
        writer: StatusWriter,
        *,
        clock: Callable[[], datetime],
        on_change: Callable[[], None] = lambda: None,
        ownership: Ownership | None = None,
    ) -> None:
        """`on_change` is called when the ledger has something new for the dispatcher. Without `ownership`
        all is ours."""
        self._ledger = ledger
        self._writer = writer
        self._clock = clock
        self._on_change = on_change
        self._ownership = ownership
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[int, Problem | None]] = {}  # by uid: the last generation that was taken
        self._gone: set[str] = (
            set()
        )  # uids that went away since the running sweep began, whose lists may still hold them
        self.behind = threading.Event()
        """Set when something could not be taken, so that a sweep is due as soon as the ledger is back."""

    def take(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """The resource is there. Raises nothing that a sweep can mend."""
        metadata = body["metadata"]
        if metadata.get("deletionTimestamp") is not None:
            self._going(kind, body)
            return
        uid, generation = str(metadata["uid"]), int(metadata.get("generation", 0))
        if not self._owns(metadata["namespace"]):
            self._leave_alone(uid)
            return
        with self._lock:
            taken = self._taken.get(uid)
        if taken is not None and generation < taken[0]:
            return  # a list that was begun before a newer event came
        # What was wrong may be mended without a new generation: in its labels and annotations.
        if taken is None or taken[0] != generation or taken[1] is not None:
            try:
                # The ledger was lost, or is an older one: what a job did that has ended there is not done again.
                if _is_over(kind, body) and self._holder_of_name(body) != UUID(uid):
                    _log.warning("a job that has ended is not in the ledger, and is left alone", uid=uid)
                    return
                taken = generation, self._apply(kind, body, generation)
            except (LedgerUnavailable, LedgerError) as error:
                self._fall_behind(error)
                return
            with self._lock:
                self._taken[uid] = taken
        self._writer.seen({"kind": kind.name, **body}, taken[1])

    def gone(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """The resource was deleted: a job's work is stopped, and its record stays."""
        self._writer.gone(str(body["metadata"]["uid"]))
        self._delete(kind, body)

    def _going(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """It was deleted, and somebody's finalizer still holds it: of a job is told how its work comes to its end."""
        if not self._owns(body["metadata"]["namespace"]):
            self._leave_alone(str(body["metadata"]["uid"]))
            return
        self._delete(kind, body)
        if kind == TRANSFER_JOBS:
            self._writer.seen({"kind": kind.name, **body})
        else:
            self._writer.gone(str(body["metadata"]["uid"]))

    def _delete(self, kind: Kind, body: Mapping[str, Any]) -> None:
        uid = str(body["metadata"]["uid"])
        with self._lock:
            self._taken.pop(uid, None)
            self._gone.add(uid)
        try:
            if kind == TRANSFER_JOBS:
                self._ledger.delete_job(UUID(uid), self._clock())
            elif kind == DICOM_NODES:
                self._ledger.delete_node(_key(body), uid)
            else:
                self._ledger.delete_profile(_key(body), uid)
        except (LedgerUnavailable, LedgerError) as error:
            self._fall_behind(error)
            return
        self._on_change()

    def sweep(self, api: KubernetesApi, namespaces: Sequence[str] | None) -> None:
        """Compares everything in these namespaces (None: in all), both ways, and mends what differs.

        Raises ApiRefused and LedgerUnavailable; then nothing was taken for gone that may be there.
        """
        self.behind.clear()
        with self._lock:
            self._gone.clear()
        told_of = self._writer.uids()
        # Asked before the lists are read: what is made meanwhile is in the lists only, and never taken for gone.
        known_jobs = self._ledger.live_jobs()
        if self._ownership is not None:
            self._ownership.renew({job.namespace for job in known_jobs.values()}.union(namespaces or ()))
        known_nodes = {node.key: node.metadata.uid for node in self._ledger.nodes()}
        known_profiles = {profile.key: profile.metadata.uid for profile in self._ledger.profiles()}
        jobs: set[UUID] = set()
        uids: set[str] = set()
        nodes = self._take_all(api, DICOM_NODES, namespaces, known_nodes, uids)
        profiles = self._take_all(api, DEID_PROFILES, namespaces, known_profiles, uids)
        for body in _listed(api, TRANSFER_JOBS, namespaces):
            uid = UUID(body["metadata"]["uid"])
            jobs.add(uid)
            uids.add(str(body["metadata"]["uid"]))
            known_job = known_jobs.get(uid)
            if known_job is None:
                holder = None if _is_over(TRANSFER_JOBS, body) else self._holder_of_name(body)
                # Where it is a job that came after the list was begun, an event told of it, and this one is over.
                if _is_over(TRANSFER_JOBS, body) or (holder not in (None, uid) and holder not in known_jobs):
                    continue
            ended = known_job is not None and known_job.ended
            self._take_listed(TRANSFER_JOBS, body, known=known_job is not None, ended=ended)
        for job_id, known_job in known_jobs.items():
            if job_id not in jobs and _is_ours(known_job.namespace, namespaces):
                self._job_gone(job_id)
        for key in known_nodes.keys() - nodes:
            if _is_ours(key[0], namespaces) and self._ledger.delete_node(key, known_nodes[key]):
                SWEEP_CORRECTIONS.labels("node_gone").inc()
        for key in known_profiles.keys() - profiles:
            if _is_ours(key[0], namespaces) and self._ledger.delete_profile(key, known_profiles[key]):
                SWEEP_CORRECTIONS.labels("profile_gone").inc()
        for uid_gone in told_of - uids:
            self._writer.gone(uid_gone)
        with self._lock:
            for uid_gone in self._taken.keys() - uids:
                del self._taken[uid_gone]
        self._on_change()

    def _owns(self, namespace: str) -> bool:
        try:
            return self._ownership is None or self._ownership.owns(namespace)
        except ApiRefused as error:
            _log.warning("nobody can tell whose a namespace is", namespace=namespace, reason=str(error))
            self.behind.set()
            return False

    def _leave_alone(self, uid: str) -> None:
        """Another release tells of it. What the ledger has of it from before stays, and nothing of it is started."""
        self._writer.gone(uid)
        with self._lock:
            self._taken.pop(uid, None)

    def _take_all(
        self,
        api: KubernetesApi,
        kind: Kind,
        namespaces: Sequence[str] | None,
        known: Container[tuple[str, str]],
        uids: set[str],
    ) -> set[tuple[str, str]]:
        """Takes what jobs name, and tells what is there."""
        there = set()
        for body in _listed(api, kind, namespaces):
            there.add(_key(body))
            uids.add(str(body["metadata"]["uid"]))
            self._take_listed(kind, body, known=_key(body) in known, ended=False)
        return there

    def _holder_of_name(self, body: Mapping[str, Any]) -> UUID | None:
        """The job that has this one's name in the ledger: this one, another, or none."""
        known = self._ledger.job(_key(body))
        return None if known is None else known.id

    def _job_gone(self, job_id: UUID) -> None:
        if self._ledger.delete_job(job_id, self._clock()):
            SWEEP_CORRECTIONS.labels("job_gone").inc()
            self._writer.gone(str(job_id))

    def _take_listed(self, kind: Kind, body: Mapping[str, Any], *, known: bool, ended: bool) -> None:
        """What the ledger lacks is applied even if it was taken before: the ledger may be an older one, restored.

        A job that has ended for both sides has nothing new, so that a thousand old ones do not hold up a start.
        """
        metadata = body["metadata"]
        uid, generation = str(metadata["uid"]), int(metadata.get("generation", 0))
        with self._lock:
            if uid in self._gone:
                return
            taken = self._taken.get(uid)
            if not known and (taken is None or taken[0] <= generation):  # else an event brought a newer one meanwhile
                self._taken.pop(uid, None)
            elif ended and is_settled(body.get("status"), generation):
                self._taken.setdefault(uid, (generation, None))
        self.take(kind, body)

    def _apply(self, kind: Kind, body: Mapping[str, Any], generation: int) -> Problem | None:
        """Why this generation is not in the ledger; None if it is. Raises LedgerUnavailable."""
        model = _MODELS[kind]
        try:
            resource = model.model_validate(_manifest(kind, body))
        except ValidationError as error:
            _log.warning("invalid resource", kind=kind.name, uid=body["metadata"]["uid"])
            return invalid(error, model, generation)
        if isinstance(resource, DeidProfile) and (problem := unusable(resource, generation)) is not None:
            _log.warning("unusable profile", uid=body["metadata"]["uid"])
            return problem
        try:
            if isinstance(resource, TransferJob):
                applied = self._ledger.apply_job(resource, self._clock())
            elif isinstance(resource, DicomNode):
                applied = self._ledger.apply_node(resource, self._clock())
            else:
                applied = self._ledger.apply_profile(resource, self._clock())
        except ResourceConflict as error:
            _log.warning("change refused", kind=kind.name, uid=body["metadata"]["uid"], field=error.field)
            return change_refused(error, generation)
        if applied is not Applied.UNCHANGED:
            self._on_change()
        return None

    def _fall_behind(self, error: LedgerUnavailable | LedgerError) -> None:
        _log.warning("ledger unavailable", error=str(error))
        self.behind.set()


def _listed(api: KubernetesApi, kind: Kind, namespaces: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    for namespace in (None,) if namespaces is None else namespaces:
        yield from api.list(kind, namespace)


def _is_over(kind: Kind, body: Mapping[str, Any]) -> bool:
    """A job that has ended once, whatever was edited since."""
    return kind == TRANSFER_JOBS and (body.get("status") or {}).get("completionTime") is not None


def _manifest(kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(body["metadata"])
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {key: text for key, text in annotations.items() if key != _LAST_APPLIED}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": body.get("spec")}


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _is_ours(namespace: str, namespaces: Sequence[str] | None) -> bool:
    return namespaces is None or namespace in namespaces
