"""The one loop that moves jobs from applied to ended: expand, admit, launch, settle, sweep.

Run by `adit run` and `adit up`. It keeps nothing that matters in memory: each part of a step reads the
ledger, decides with a pure function and writes in one transaction that is harmless when repeated. So it
may be killed between any two writes, and two may run at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from adit.dispatch.accept import accept, can_wait
from adit.dispatch.admit import AdmissionSettings, admit
from adit.dispatch.launcher import Launcher, LaunchFailed, StillEnding
from adit.dispatch.settle import settle
from adit.dispatch.sweep import NOT_STARTED, Patience, Sweep
from adit.ledger.connection import LedgerUnavailable
from adit.ledger.ledger import Ledger
from adit.ledger.records import Claim, EndedAttempt, JobRecord, JobSummary, NodeKey, ProfileKey, TaskSeed
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState

_log = structlog.get_logger(__name__)

_BATCH: Final = 1000
_MAX_LEDGER_BACKOFF: Final = 10.0  # seconds
_SHUTDOWN_POLL: Final = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """What the person who runs the dispatcher may choose."""

    patience: Patience = field(default_factory=Patience)
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    poll_seconds: float = 1.0  # how late a change that wakes nobody (kubectl, another dispatcher) is seen
    retention_seconds: float = 600.0  # how often instance rows past their retention are looked for


class Dispatcher:
    """Works on every job in the ledger. One thread calls it; any number of processes may have one."""

    def __init__(
        self,
        ledger: Ledger,
        launcher: Launcher,
        *,
        clock: Callable[[], datetime],
        random: Callable[[], float],
        monotonic: Callable[[], float],
        settings: DispatchSettings | None = None,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` gives aware UTC, `random` numbers in [0, 1), `monotonic` seconds that never go back.

        `revive` is called each time the ledger cannot be reached, and may bring it back; it raises nothing.
        """
        self._ledger = ledger
        self._launcher = launcher
        self._clock = clock
        self._random = random
        self._monotonic = monotonic
        self._revive = revive
        self._settings = settings or DispatchSettings()
        self._sweep = Sweep(ledger, launcher, self._settings.patience, monotonic)
        self._expired_at: float | None = None  # when retention was last enforced (monotonic)
        self._unreadable: frozenset[UUID] = frozenset()  # jobs of which that was told
        self._more = False  # whether the last step left something that can be done at once

    def run(self, until: Callable[[], bool], wake: threading.Event) -> None:
        """Steps until `until()`; where a step has done all that can be done at once, waits for `wake` or the poll.

        A ledger that cannot be reached is waited for, with growing pauses; all else is raised.
        """
        failures = 0
        while True:
            # Cleared before anything is read: what happens from here on wakes the wait below.
            wake.clear()
            try:
                if until():
                    return
                self.step()
                if not self._more:
                    wake.wait(self._pause())
                failures = 0
            except LedgerUnavailable as error:
                failures += 1
                _log.warning("ledger unavailable", failures=failures, error=str(error))
                self._revive()
                wake.wait(min(_MAX_LEDGER_BACKOFF, 0.25 * 2 ** min(failures, 10)) * (0.5 + self._random() / 2))

    def step(self) -> bool:
        """Does whatever can be done now, once. True if anything changed.

        Ends come before starts, so that a freed slot is used in the same step.
        """
        now = self._clock()
        self._more = False
        changed = [
            self._sweep.run(now),
            self._settle(now),
            self._ledger.cancel_pending(now) > 0,
            self._ledger.fail_overdue(now) > 0,
            self._expand(now),
            self._start(now),
            self._close(now),
        ]
        self._enforce_retention(now)
        self._tell_of_unreadable_jobs()
        return any(changed)

    def shutdown(
        self, grace_seconds: float, wake: threading.Event, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """Stops the workers that this launcher started and settles them; the rest stays resumable.

        They are asked to stop, and killed after `grace_seconds` or once `hurried()`; their tasks go back to
        pending, without losing an attempt. On return they are gone, whether or not the ledger can be
        reached; if it cannot, whoever dispatches next settles them. Call it when `run` has returned.
        """
        stopped = self._launcher.own()
        self._launcher.stop_own()
        asked_at = self._monotonic()
        while self._launcher.own() and (waited := self._monotonic() - asked_at) < 2 * grace_seconds:
            if waited >= grace_seconds or hurried():
                self._launcher.kill_own()
            wake.wait(_SHUTDOWN_POLL)
            wake.clear()
        now = self._clock()
        try:
            self._sweep.run(now, stopped)
            self._settle(now)
            self._ledger.close_jobs(now)
        except LedgerUnavailable as error:
            _log.warning("ledger unavailable at the end", stopped=sorted(stopped), error=str(error))

    def _settle(self, now: datetime) -> bool:
        settled = False
        waiting = self._ledger.ended(_BATCH)
        self._more |= len(waiting) == _BATCH
        for reported in waiting:
            try:
                ended = self._with_its_cause(reported)
            except StillEnding:
                continue
            settlement = settle(ended, now=now, random=self._random)
            amended = None if ended is reported else ended.report
            if self._ledger.settle(ended.attempt_id, settlement, now, amended=amended):
                settled = True
                _log.info("settled", task=ended.task_id, attempt=ended.attempt_id, state=str(settlement.state))
        return settled

    def _with_its_cause(self, ended: EndedAttempt) -> EndedAttempt:
        """A worker that was told to end, and not by us, cannot know why; the place where it ran may."""
        interrupted = ended.report.faults[:1] and ended.report.faults[0].code is FaultCode.INTERRUPTED
        if not interrupted or ended.job.spec.cancel is not None:
            return ended
        cause = self._launcher.interruption(ended)
        if cause is None:
            return ended
        faults = (cause, *ended.report.faults)
        report = ended.report.model_copy(update={"outcome": cause.outcome, "faults": faults})
        return replace(ended, report=report)

    def _expand(self, now: datetime) -> bool:
        waiting = self._ledger.unexpanded(_BATCH)
        if not waiting:
            return False
        nodes = {node.key: node for node in self._ledger.nodes()}
        named = any(record.job.spec.deidentification is not None for record in waiting)
        profiles = {profile.key: profile for profile in self._ledger.profiles()} if named else {}
        self._more |= len(waiting) == _BATCH
        changed = [self._expand_job(record, nodes, profiles, now) for record in waiting]
        return any(changed)

    def _expand_job(
        self,
        record: JobRecord,
        nodes: Mapping[NodeKey, DicomNode],
        profiles: Mapping[ProfileKey, DeidProfile],
        now: datetime,
    ) -> bool:
        """Makes the job's tasks, refuses it, or leaves it waiting for what it names."""
        job = record.job
        named = job.spec.selection.failed_of
        failed_job = self._ledger.job((job.metadata.namespace, named.name)) if named else None
        listed = job.spec.selection.listed
        selection = self._ledger.selection(job.metadata.namespace, listed) if listed else None
        asked = job.spec.deidentification
        key = None if asked is None else (job.metadata.namespace, asked.profile)
        # One that was frozen with the first tasks is enough, whatever became of its resource.
        there = {key} if key is not None and record.has_profile else profiles.keys()
        fault = accept(job, nodes, failed_job, selection, profiles=there, find_job=self._ledger.job)
        profile = None if key is None else profiles.get(key)
        if fault is not None and can_wait(fault):
            fault = _end_of_waiting(record, fault, now)
            if fault is None:
                return False
        if fault is None and failed_job is not None:
            fault = _nothing_to_retry(self._ledger.summary(failed_job.id))
        if fault is not None and self._ledger.refuse(record.id, fault, now):
            _log.warning("job refused", job=str(record.id), code=str(fault.code))
        elif failed_job is not None and failed_job.ended_at is not None:
            self._ledger.expand_failed_of(record.id, failed_job.id, now, profile)
        elif selection is not None:
            self._ledger.expand_list(record.id, selection.id, now, profile)
        elif listed is not None:
            return False  # it has tasks and its list is gone, which the ledger does not do: never end it half done
        else:
            # Also when it could not be refused, because it was accepted before and has tasks already.
            self._ledger.expand(record.id, _seeds(record), now, profile)
        return True

    def _start(self, now: datetime) -> bool:
        """Claims what may start and launches it. The claim is committed first.

        Killed in between, the attempt is never begun, and its lease returns the task.
        """
        settings = replace(self._settings.admission, closed=self._launcher.closed())
        with self._ledger.admission(now) as admission:
            grants = admit(admission.snapshot, settings)
            claims = admission.claim(grants, self._settings.patience.lease) if grants else []
        self._more |= len(claims) == settings.max_starts
        for claim in claims:
            self._launch(claim, now)
        return bool(claims)

    def _close(self, now: datetime) -> bool:
        """Others may have waited for such an end (`failedOf`)."""
        closed = bool(self._ledger.close_jobs(now))
        self._more |= closed
        return closed

    def _launch(self, claim: Claim, now: datetime) -> None:
        attempt_id = claim.assignment.attempt_id
        try:
            self._launcher.launch(claim)
        except LaunchFailed as error:
            _log.warning("launch failed", attempt=attempt_id, error=str(error))
            self._ledger.declare_lost(attempt_id, seen_heartbeat=None, fault=error.fault or NOT_STARTED, now=now)
            self._more = True  # it is to be settled

    def _tell_of_unreadable_jobs(self) -> None:
        unreadable = self._ledger.unreadable_jobs()
        for job_id in unreadable - self._unreadable:
            _log.error("a newer version's job waits for that version", job=str(job_id))
        self._unreadable = unreadable

    def _enforce_retention(self, now: datetime) -> None:
        seconds = self._monotonic()
        if self._expired_at is None or seconds - self._expired_at >= self._settings.retention_seconds:
            self._expired_at = seconds
            self._ledger.expire(now)

    def _pause(self) -> float:
        due = self._ledger.next_due(self._clock())
        until_due = (due - self._clock()).total_seconds() if due else self._settings.poll_seconds
        return max(0.0, min(self._settings.poll_seconds, until_due))


def _nothing_to_retry(failed_job: JobSummary) -> Fault | None:
    """To retry none of the studies of a job that was cut short would look like a success."""
    cut_short = failed_job.tasks.get(TaskState.CANCELED, 0)
    if failed_job.tasks.get(TaskState.FAILURE, 0) > 0 or cut_short == 0:
        return None
    name = failed_job.record.job.metadata.name
    return Fault(
        code=FaultCode.JOB_NOT_RETRIABLE,
        message=f"spec.selection.failedOf.name: nothing failed in TransferJob {name}; cancelled tasks: {cut_short}.",
        cure="Apply that job's selection under a new name.",
    )


def _end_of_waiting(record: JobRecord, fault: Fault, now: datetime) -> Fault | None:
    """Why a job that waits for what it names must not wait any longer; None while it may."""
    if record.job.spec.cancel is not None:
        return Fault(code=FaultCode.CANCELLED, message="The job was cancelled before it had any tasks.")
    if record.deadline is not None and record.deadline <= now:
        return Fault(
            code=FaultCode.DEADLINE_EXCEEDED,
            message=f"The job's deadline passed while it waited. {fault.message}",
            cure=fault.cure,
            node=fault.node,
        )
    return None


def _seeds(record: JobRecord) -> list[TaskSeed]:
    return [
        TaskSeed(study.study_instance_uid, study.patient_id, study.series_instance_uids, study.pseudonym)
        for study in record.job.spec.selection.studies or ()
    ]
