"""Attempts as Kubernetes Jobs: the launcher that the operator gives to the dispatcher.

Called by the dispatcher's thread, but for `job_changed`, `job_deleted` and `pod_failed`, which the watch calls, and
`trouble`, which the status writer asks. Nothing that is remembered here matters: a new operator sees it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from adit.dispatch.launcher import LaunchFailed, StillEnding
from adit.ledger.records import Claim, EndedAttempt, RunningAttempt
from adit.model.outcome import Fault, FaultCode
from adit_operator import post_mortem
from adit_operator.disruptions import Disruptions
from adit_operator.job_manifest import ATTEMPT_LABEL, SELECTOR, attempt_token, job_name, manifest
from adit_operator.job_picture import JobPicture, Sight, attempt_of, job_of
from adit_operator.kubernetes_api import JOBS, PODS, ApiRefused, KubernetesApi, Object, Refusal
from adit_operator.launch_gate import LaunchGate
from adit_operator.metrics import LAUNCHES, SWEEP_CORRECTIONS
from adit_operator.ownership import Ownership
from adit_operator.reach import readable
from adit_operator.worker_settings import WorkerSettings

_log = structlog.get_logger(__name__)

_MISSING_SECONDS: Final = 5.0
"""How long a Job must have been missing before that is believed: another operator may just be making it."""
_LOOK_SECONDS: Final = 5.0
"""How often pods that have not started are looked at."""
_LIST_SECONDS: Final = 60.0
"""How often all our Jobs are listed, whatever events said."""
_TOLD_SECONDS: Final = 15.0
"""How old a Job is before it is told that it does not start: a moment without room is no news."""
_PODLESS_SECONDS: Final = 90.0
"""How old a Job without a pod is before it is given back."""
_SILENCE_SECONDS: Final = 5.0
"""How long the API server is left alone after it gave no answer, so that one step never waits for many time-outs."""
_ENDING_SECONDS: Final = 90.0
"""How long an interrupted attempt's pod is waited for, which says why: more than its grace."""
_NEWS_SECONDS: Final = 3.0
"""How long the watch is waited for, which says why a pod had to go, where its Job says only that it had to."""
_REFUSAL_SECONDS: Final = 900.0
"""How long a refusal is told after nothing more was tried: longer than the pauses between tries."""
_REMEMBERED: Final = 1000
"""Jobs whose last launch was refused, for people to know; the oldest is forgotten first."""
_FAILED_KEPT: Final = 200
"""Failed Jobs that are left for people to look at, the newest: a source that is down fails thousands."""
_DELETED_AT_ONCE: Final = 20
"""Finished Jobs deleted in one step, so that clearing up never holds up launching."""


class KubernetesLauncher:
    """One Job for each claim, in the TransferJob's namespace."""

    def __init__(
        self,
        api: KubernetesApi,
        settings: WorkerSettings,
        namespaces: Sequence[str] | None,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
        ownership: Ownership | None = None,
    ) -> None:
        """`namespaces`: those that are looked after; None for all. `on_change` is called when a Job ended. Without
        `ownership` all of them are ours."""
        self._api = api
        self._settings = settings
        self._namespaces = namespaces
        self._clock = clock
        self._monotonic = monotonic
        self._on_change = on_change
        self._ownership = ownership
        self._picture = JobPicture(monotonic)
        self._gate = LaunchGate(monotonic)
        self._missing: dict[int, float] = {}  # attempt id: since when its Job is missing (monotonic)
        self._epitaphs: dict[int, Fault] = {}
        self._disruptions = Disruptions()
        self._ending: dict[int, float] = {}  # attempt id: since when it is known to have been interrupted (monotonic)
        self._given_back: dict[int, Fault] = {}  # attempts whose Jobs were deleted because they did not start
        self._troubles: dict[UUID, tuple[Fault, float]] = {}  # by job: why its pods do not start, and when that was so
        self._refusals: dict[UUID, tuple[Fault, float]] = {}  # by job: why its last Job was not taken, and when
        self._busy: frozenset[UUID] = frozenset()  # jobs of which some worker is at work
        self._running: set[int] = set()  # attempts that the ledger last called running, and those launched since
        self._orphans: frozenset[int] = frozenset()  # running Jobs that the last list had and the ledger had not
        self._looked_at = self._listed_at = self._silent_until = float("-inf")

    # --- the port ---

    def launch(self, claim: Claim) -> None:
        namespace = claim.assignment.namespace
        self._running.add(claim.assignment.attempt_id)
        fault = self._gate.fault(namespace)
        if fault is not None:  # refused to the one before: nothing is sent for this one
            self._tell_refusal(claim.assignment.job_id, fault)
            raise LaunchFailed(fault.message, fault)
        try:
            job = self._api.create(JOBS, namespace, manifest(claim, self._settings, self._clock()))
        except ApiRefused as error:
            LAUNCHES.labels(str(error.refusal)).inc()
            existing = self._after_refusal(claim, error)
            if existing is not None:
                self._see(existing)
            return
        LAUNCHES.labels("Created").inc()
        self._gate.open(namespace)
        self._see(job)

    def stop(self, attempt: RunningAttempt) -> None:
        """The Job is deleted; its pod gets SIGTERM and its grace. A server that is silent is asked at a later step."""
        if self._is_silent():
            return
        with self._patience():
            self._delete(attempt)

    def kill(self, attempt: RunningAttempt) -> None:
        """As `stop`: what does not end in its grace is killed by the kubelet. A Job that has finished is left to be
        looked at, with its pod's log: nothing of it runs."""
        sight = self._picture.of(attempt.attempt_id)
        if sight is None or sight.finished_at is None:
            self.stop(attempt)

    def alive(self, attempt: RunningAttempt) -> bool | None:
        sight = self._picture.of(attempt.attempt_id)
        if sight is not None:
            self._missing.pop(attempt.attempt_id, None)
            return True if sight.finished_at is None else self._bury(attempt, sight)
        return self._alive_without_job(attempt)

    def epitaph(self, attempt: RunningAttempt) -> Fault | None:
        return self._epitaphs.get(attempt.attempt_id)

    def interruption(self, ended: EndedAttempt) -> Fault | None:
        """Of an eviction the pod says why only when it has ended, after its worker's report."""
        known = self._disruptions.of(ended.attempt_id)
        if known is not None:
            self._ending.pop(ended.attempt_id, None)
            return known
        now = self._monotonic()
        since = self._ending.setdefault(ended.attempt_id, now)
        if now - since >= _ENDING_SECONDS:
            del self._ending[ended.attempt_id]
            return None
        if self._is_silent():
            raise StillEnding
        with self._patience():
            sight = self._picture.of(ended.attempt_id)
            has_ended = sight is None or sight.finished_at is not None
            pods = self._pods_of(ended.job.metadata.namespace, ended.attempt_id)
            fault = post_mortem.why_interrupted(pods, None if sight is None else sight.job)
            news_may_come = fault is not None and not pods and now - since < _NEWS_SECONDS
            if (fault is not None or has_ended) and not news_may_come:
                del self._ending[ended.attempt_id]
                return fault
        raise StillEnding

    def closed(self) -> frozenset[str]:
        """Also where another release launches."""
        return self._gate.closed() | (frozenset() if self._ownership is None else self._ownership.others())

    def own(self) -> frozenset[int]:
        """None: workers outlive the operator, and the next one finds them by their Jobs."""
        return frozenset()

    def stop_own(self) -> None:
        return

    def kill_own(self) -> None:
        return

    def reap(self, running: Sequence[RunningAttempt]) -> None:
        known = {attempt.attempt_id for attempt in running}
        self._running = set(known)
        for remembered in (self._missing, self._epitaphs, self._given_back):
            for attempt_id in remembered.keys() - known:
                del remembered[attempt_id]
        now = self._monotonic()
        # Of a job that was cancelled meanwhile nobody asks again.
        self._ending = {each: since for each, since in self._ending.items() if now - since < 2 * _ENDING_SECONDS}
        self._busy = frozenset(attempt.job_id for attempt in running if attempt.begun_at is not None)
        if self._is_silent():
            return
        with self._patience():
            if now - self._listed_at >= _LIST_SECONDS:
                self._list()
                self._listed_at = now
                self._end_orphans(known)
            self._clear_up(known, now)
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look_at_unbegun([attempt for attempt in running if attempt.begun_at is None])

    # --- news and troubles ---

    def job_changed(self, job: Object) -> None:
        """From the watch: a Job of ours is there, or is another than before.

        Its end is no news where the ledger has the attempt's end already, as is usual: nobody is woken then.
        """
        if self._is_ours(job) and self._see(job) and attempt_of(job) in self._running:
            self._on_change()

    def job_deleted(self, job: Object) -> None:
        """From the watch."""
        attempt_id = attempt_of(job)
        if attempt_id is not None and self._is_ours(job):
            self._picture.forget(attempt_id)
            if attempt_id in self._running:
                self._on_change()

    def pod_failed(self, pod: Object) -> None:
        """From the watch: a worker's pod has failed. One that had to go is gone a moment later."""
        attempt_id, fault = attempt_of(pod), post_mortem.why_interrupted([pod])
        if attempt_id is not None and fault is not None and self._is_ours(pod):
            self._disruptions.note(attempt_id, fault)

    def trouble(self, job_id: UUID) -> Fault | None:
        """Why nothing of the job runs: workers are refused, or do not start. For people; nothing is decided by it."""
        if job_id in self._busy:
            return None
        for told in (self._refusals, self._troubles):
            fault, told_at = told.get(job_id, (None, float("-inf")))
            if self._monotonic() - told_at < _REFUSAL_SECONDS:
                return fault
        return None

    # --- launching ---

    def _after_refusal(self, claim: Claim, error: ApiRefused) -> Object | None:
        """The Job that is there after all; None if nobody can tell. Raises LaunchFailed if there is none of ours."""
        assignment = claim.assignment
        if error.refusal is Refusal.ALREADY_EXISTS:
            return self._own_job(claim)
        fault = _refusal(assignment.namespace, error)
        self._gate.close(assignment.namespace, fault, error.retry_after)
        _log.warning("launch refused", attempt=assignment.attempt_id, code=str(fault.code), reason=str(error))
        if error.refusal is Refusal.UNAVAILABLE:
            self._silent_until = self._monotonic() + _SILENCE_SECONDS
            return None
        self._tell_refusal(assignment.job_id, fault)
        raise LaunchFailed(fault.message, fault) from error

    def _own_job(self, claim: Claim) -> Object | None:
        """An earlier launch of this very claim, told by its token. Anybody else's Job of that name is left alone."""
        assignment = claim.assignment
        name = job_name(assignment.task_id, assignment.number)
        try:
            job = self._api.read(JOBS, assignment.namespace, name)
        except ApiRefused:
            return None
        if job is None or attempt_token(job) == str(assignment.token):
            return job
        fault = Fault(
            code=FaultCode.LAUNCH_REFUSED,
            message=f"A Job named {name} is there that is not of this attempt.",
            cure="Nothing: the next attempt has another name. Delete that Job if nobody needs it.",
        )
        raise LaunchFailed(fault.message, fault)

    def _tell_refusal(self, job_id: UUID, fault: Fault) -> None:
        self._refusals.pop(job_id, None)  # the newest last
        self._refusals[job_id] = (fault, self._monotonic())
        if len(self._refusals) > _REMEMBERED:
            del self._refusals[next(iter(self._refusals))]

    def _see(self, job: Object) -> bool:
        """Whether it is now known to have finished. Whatever was refused before, a Job of that job is there."""
        job_id = job_of(job)
        if job_id is not None:
            self._refusals.pop(job_id, None)
        return self._picture.see(job)

    def _is_ours(self, thing: Object) -> bool:
        """Another release's Jobs look like ours, and their attempts have the same numbers."""
        return self._ownership is None or self._ownership.is_ours(thing["metadata"]["namespace"])

    # --- how attempts are ---

    def _alive_without_job(self, attempt: RunningAttempt) -> bool | None:
        """Believed only after a while, and only when the API server says that neither Job nor running pod is there."""
        now = self._monotonic()
        since = self._missing.setdefault(attempt.attempt_id, now)
        if now - since < _MISSING_SECONDS or self._is_silent():
            return None
        self._missing[attempt.attempt_id] = now  # and asked again after as long a while
        with self._patience():
            job = self._own_job_of(attempt)
            if job is not None:
                self._see(job)
                return True
            return self._bury(attempt, None)
        return None

    def _bury(self, attempt: RunningAttempt, sight: Sight | None) -> bool | None:
        """False, with an epitaph, unless a pod of the attempt may still act or nobody can tell."""
        if self._is_silent():
            return None
        with self._patience():
            pods = self._pods_of(attempt.namespace, attempt.attempt_id)
            if any(post_mortem.runs(pod) for pod in pods):
                return None  # it is just being ended; on a lost machine the lease decides
            fault = None if attempt.begun_at is not None else self._given_back.get(attempt.attempt_id)
            fault = fault or self._disruptions.of(attempt.attempt_id)
            if fault is None and not pods and self._is_news(sight):
                return None
            overdue = attempt.deadline is not None and self._clock() >= attempt.deadline
            self._epitaphs[attempt.attempt_id] = fault or post_mortem.why_ended(
                None if sight is None else sight.job, pods, begun=attempt.begun_at is not None, overdue=overdue
            )
            return False
        return None

    def _is_news(self, sight: Sight | None) -> bool:
        """Whether a pod had to go so lately that the watch may yet say why."""
        if sight is None or sight.finished_at is None or not post_mortem.was_disrupted(sight.job):
            return False
        return self._monotonic() - sight.finished_at < _NEWS_SECONDS

    def _pods_of(self, namespace: str, attempt_id: int) -> list[Object]:
        return list(self._api.list(PODS, namespace, labels=f"{ATTEMPT_LABEL}={attempt_id}"))

    def _look_at_unbegun(self, unbegun: Sequence[RunningAttempt]) -> None:
        """What keeps pods from starting is remembered for people; what takes too long is given back.

        It stays true between two attempts, and while the next one is young, until one begins.
        """
        now = self._monotonic()
        self._troubles = {
            job_id: told
            for job_id, told in self._troubles.items()
            if job_id not in self._busy and now - told[1] < _REFUSAL_SECONDS
        }
        pods: dict[int | None, Object] = {}
        asked: set[str] = set()
        for namespace in {attempt.namespace for attempt in unbegun}:
            if self._is_silent():
                return
            with self._patience():
                pending = self._api.list(PODS, namespace, labels=SELECTOR, fields="status.phase=Pending")
                pods |= {attempt_of(pod): pod for pod in pending}
                asked.add(namespace)
        for attempt in unbegun:
            if attempt.namespace not in asked:
                continue
            sight = self._picture.of(attempt.attempt_id)
            if sight is None:
                continue
            fault, patience = self._trouble(sight, pods.get(attempt.attempt_id))
            if fault is None:
                continue
            if post_mortem.age(sight.job, self._clock()) >= _TOLD_SECONDS:
                self._troubles[attempt.job_id] = fault, now
            if post_mortem.age(sight.job, self._clock()) >= patience:
                _log.warning("given back", attempt=attempt.attempt_id, code=str(fault.code))
                self._given_back[attempt.attempt_id] = fault
                with self._patience():
                    self._delete(attempt)

    def _trouble(self, sight: Sight, pod: Object | None) -> tuple[Fault | None, float]:
        """What keeps the attempt from starting, and for how many seconds that is borne."""
        if pod is not None:
            return post_mortem.why_waiting(pod), float(self._settings.start_seconds)
        if post_mortem.has_pod(sight.job) or post_mortem.age(sight.job, self._clock()) < _TOLD_SECONDS:
            return None, _PODLESS_SECONDS
        return post_mortem.fault_of(FaultCode.POD_REFUSED), _PODLESS_SECONDS

    # --- Jobs that are done with ---

    def _list(self) -> None:
        before = self._picture.all()
        namespaces = readable(self._api, self._namespaces)
        listed = (
            self._api.list(JOBS, each, labels=SELECTOR) for each in ((None,) if namespaces is None else namespaces)
        )
        self._picture.replace(before, [job for jobs in listed for job in jobs if self._is_ours(job)])

    def _end_orphans(self, known: set[int]) -> None:
        """Ends Jobs that run for no attempt, once two lists have said so: the first may have met a launch half done."""
        sights = self._picture.all()
        orphans = frozenset(key for key, sight in sights.items() if sight.finished_at is None and key not in known)
        for attempt_id in orphans & self._orphans:
            _log.warning("orphan ended", attempt=attempt_id)
            SWEEP_CORRECTIONS.labels("orphan").inc()
            self._remove(attempt_id, sights[attempt_id])
        self._orphans = orphans

    def _clear_up(self, known: set[int], now: float) -> None:
        """Deletes ended Jobs after a while. The newest failed ones are left for people, until their TTL."""
        ended = [
            (attempt_id, sight)
            for attempt_id, sight in self._picture.all().items()
            if attempt_id not in known
            and sight.finished_at is not None
            and now - sight.finished_at >= self._settings.keep_seconds
        ]
        failed = [each for each in ended if post_mortem.has_failed(each[1].job)]
        kept = set(sorted(attempt_id for attempt_id, _ in failed)[-_FAILED_KEPT:])
        done = [each for each in ended if each[0] not in kept]
        for attempt_id, sight in done[:_DELETED_AT_ONCE]:
            self._remove(attempt_id, sight)

    def _remove(self, attempt_id: int, sight: Sight) -> None:
        self._api.delete(JOBS, sight.namespace, sight.name, uid=sight.uid)
        self._picture.forget(attempt_id)

    def _delete(self, attempt: RunningAttempt) -> None:
        """A Job of that name that is not this attempt's is left alone."""
        job = self._own_job_of(attempt)
        if job is not None:
            name = job_name(attempt.task_id, attempt.number)
            self._api.delete(JOBS, attempt.namespace, name, uid=job["metadata"]["uid"])
            self._picture.forget(attempt.attempt_id)  # a watch that has only begun may never tell that it is gone

    def _own_job_of(self, attempt: RunningAttempt) -> Object | None:
        job = self._api.read(JOBS, attempt.namespace, job_name(attempt.task_id, attempt.number))
        return job if job is not None and attempt_token(job) == str(attempt.token) else None

    # --- an API server that does not answer ---

    def _is_silent(self) -> bool:
        return self._monotonic() < self._silent_until

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Bears whatever the API server refuses: the next step asks again."""
        try:
            yield
        except ApiRefused as error:
            _log.warning("kubernetes unavailable", reason=str(error))
            if error.refusal is Refusal.UNAVAILABLE:
                self._silent_until = self._monotonic() + _SILENCE_SECONDS


def _refusal(namespace: str, error: ApiRefused) -> Fault:
    if error.refusal is Refusal.FORBIDDEN:
        return Fault(
            code=FaultCode.LAUNCH_FORBIDDEN,
            message=f"The operator may not create Jobs in namespace {namespace}.",
            cure="Give it the rights: add the namespace to the chart's watchNamespaces.",
        )
    if error.refusal is Refusal.INVALID and error.fields:
        return Fault(
            code=FaultCode.LAUNCH_REFUSED,
            message=f"The API server finds the worker's Job invalid: {', '.join(error.fields)}.",
            cure="Correct the chart's worker values that these fields are made from (docs/values.md), and upgrade the "
            "release. If the values are right, look at what webhooks of the cluster make of Jobs.",
        )
    return Fault(
        code=FaultCode.LAUNCH_REFUSED,
        message=f"The API server did not take the worker's Job ({error.refusal}).",
        cure="Look at the namespace's quotas, policies and webhooks, and at the API server's health.",
    )
