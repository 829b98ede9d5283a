"""One attempt at a task, from the plan to the proof. Called by the worker process, once in its life.

Three roads run at once: the source's fetch delivers into a channel, store threads empty it towards the
destination, the recorder writes down what became of each instance. A watchdog looks at the clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from adit.dicom.node import Instance, Mover, Node, Sealing, Wanted, Wayfarer
from adit.ledger.attempt_ledger import Fenced, LedgerUnavailable
from adit.model.assignment import Assignment, Progress, Report, Share
from adit.model.counted import counted
from adit.model.dicom_node import DicomNode
from adit.model.findings import Observation, observation
from adit.model.instance import NOT_ASKED, InstanceRecord
from adit.model.outcome import Fault, FaultCode, Outcome, TransferFault
from adit.transfer.bug import bug_fault
from adit.transfer.channel import Channel
from adit.transfer.delivery import Delivery
from adit.transfer.errands import errands
from adit.transfer.fetching import Fetching
from adit.transfer.halt import FAULTS, Halt, Reason, Watchdog
from adit.transfer.holdings import holdings
from adit.transfer.intake import Intake
from adit.transfer.patience import Patience
from adit.transfer.plan import Plan, make_plan
from adit.transfer.recorder import AttemptWriter, Recorder
from adit.transfer.roster import DONE_WITH, Roster
from adit.transfer.treatment import RefusedError, Treatment, treatment_of
from adit.transfer.verdict import Facts, complete, verdict
from adit.transfer.verification import verify

if TYPE_CHECKING:
    from adit.dicom.payload import Spool
    from adit.model.treatment import TreatmentRecord

_PATIENCE: Final = Patience()
_Known = TypeVar("_Known")
OpenNode = Callable[[DicomNode, Share], Node]


class AttemptStore(AttemptWriter, Protocol):
    """The part of `adit.ledger.attempt_ledger.AttemptLedger` that an attempt needs."""

    def instances(self) -> list[InstanceRecord]: ...
    def treatments(self) -> list[TreatmentRecord]: ...
    def project_key(self, claimed: str | None, now: datetime) -> str: ...


def run_attempt(
    ledger: AttemptStore,
    open_node: OpenNode,
    assignment: Assignment,
    *,
    clock: Callable[[], datetime],
    stop: threading.Event,
    until: datetime | None = None,
    secrets: Path | None = None,
    spool: Spool | None = None,
    patience: Patience = _PATIENCE,
) -> Report:
    """Does what the assignment says, and tells how it ended; raises nothing.

    `clock` gives aware UTC times. `stop` ends the attempt early: what has been received is still
    stored and written down, for at most `patience.grace` seconds. So does the moment `until`, after which
    another attempt may go on. `secrets` holds a folder for each Secret, among them that of the profile's key; `spool`
    takes what is too big for memory. The report is not yet in the ledger.
    """
    treatment: Treatment | None = None
    try:
        treatment = treatment_of(assignment, secrets, spool)
        source = open_node(assignment.source, assignment.source_share)
        destination = open_node(assignment.destination, assignment.destination_share)
        for node, roads in ((source, assignment.source_last), (destination, assignment.destination_last)):
            if roads and isinstance(node, Wayfarer):
                node.try_last(roads)
        return _Attempt(ledger, source, destination, assignment, treatment, clock, patience).run(stop, until)
    except TransferFault as error:
        return Report(outcome=error.fault.outcome, faults=(error.fault,))
    except Exception as error:  # noqa: BLE001 - a bug must end as a report, not as a lost attempt
        return Report(outcome=Outcome.BUG, faults=(bug_fault(error),))
    finally:
        if treatment is not None:
            treatment.close()


class _Attempt:
    def __init__(
        self,
        ledger: AttemptStore,
        source: Node,
        destination: Node,
        assignment: Assignment,
        treatment: Treatment,
        clock: Callable[[], datetime],
        patience: Patience,
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._destination = destination
        self._assignment = assignment
        self._treatment = treatment
        self._clock = clock
        self._patience = patience
        self._halt = Halt()
        self._recorder = Recorder(ledger, assignment, self._halt, clock=clock, patience=patience)
        self._roster = Roster(
            assignment.study_instance_uid, assignment.series_instance_uids, destination.name, self._recorder.record
        )
        self._finished = False
        self._announced = 0
        self._sent_directly = 0  # instances that the source spoke of in sending them past us
        self._announced_by_series: Mapping[str, int] = {}
        self._faults: list[Fault] = []  # of the attempt as a whole, still open
        self._warnings: list[Fault] = []
        self._offered: dict[str, tuple[str, ...]] = {}  # by node

    def run(self, stop: threading.Event, until: datetime | None) -> Report:
        watchdog = Watchdog(
            self._halt,
            stop=stop,
            clock=self._clock,
            deadline=self._assignment.deadline,
            until=until,
            seconds_since_write=self._recorder.seconds_since_write,
            lease_seconds=self._assignment.lease_seconds,
            grace=self._patience.grace,
            interrupt_source=self._source.interrupt,
            interrupt_destination=self._destination.interrupt,
        )
        watchdog.start()
        try:
            self._recorder.start(self._roster.progress)
            try:
                report = self._report_of_work()
            finally:
                written = self._recorder.close()
                if isinstance(self._destination, Sealing):
                    self._destination.discard()
        finally:
            watchdog.close()
        if written:
            return report
        lost = FAULTS[self._halt.reason or Reason.LEDGER_LOST]
        return Report(outcome=lost.outcome, faults=(lost, *report.faults[:19]), progress=report.progress)

    def _report_of_work(self) -> Report:
        try:
            self._work()
        except TransferFault as error:
            if self._halt.reason is None:
                self._faults.append(error.fault)
                self._recorder.fault("error", error.fault)
        report = verdict(self._facts(), self._roster.progress())
        report = report.model_copy(update={"observed": self._observed(report.progress)})
        self._recorder.event("info", "Ended", f"The attempt ended: {report.outcome}.")
        return report

    def _work(self) -> None:
        self._roster.restore(self._asked(self._ledger.instances))
        earlier = self._asked(self._ledger.treatments) if self._treatment.deidentifies else []
        self._probe()
        plan = make_plan(self._source, self._assignment)
        self._treatment.take_up(self._roster.rows(), earlier, plan, self._project_key)
        destination = self._treatment.destination(self._destination, plan)
        # Before anything is written down, so that a known row is one that was asked about before it was ever sent.
        known = {row.sop_instance_uid for row in self._roster.rows() if row.dimse_status != NOT_ASKED}
        self._take_over(plan, holdings(destination, plan, known) - known)
        _announce(plan, self._destination, self._assignment, self._treatment)
        wanted = self._errands(plan)
        if wanted and isinstance(self._destination, Sealing) and self._roster.start_over():
            wanted = self._errands(plan)
        if not self._recorder.flush() or self._halt.reason is not None:
            return  # nothing is fetched that is not written down as expected
        if wanted:
            if self._assignment.direct:
                wanted = self._send_directly(plan, wanted)
            if wanted and self._halt.reason is None:
                self._transfer(plan, wanted, destination)
            self._tell_of_unlisted()
            if isinstance(self._destination, Sealing):
                self._seal(self._destination)
        if self._halt.reason is not None:
            return
        self._tell_of_empty_series(plan)
        if destination.can_verify:
            verify(destination, self._assignment.study_instance_uid, self._roster, self._halt, self._patience)
        self._finished = True

    def _errands(self, plan: Plan) -> Sequence[Wanted]:
        whole_study = self._assignment.series_instance_uids is None
        return errands(plan, self._roster.rows(), whole_study=whole_study, heard=self._heard)

    @property
    def _heard(self) -> int:
        return max(self._assignment.announced, self._roster.progress().announced)

    def _probe(self) -> None:
        """Where it is this attempt's turn, once a day for each node: later ones start by the roads that are offered."""
        for node in (self._source, self._destination):
            if node.name in self._assignment.to_probe and self._halt.reason is None:
                found = node.probe()
                if found.reachable and found.fault is None:
                    self._offered[node.name] = found.services

    def _observed(self, progress: Progress) -> tuple[Observation, ...]:
        """How the roads did: those that brought something, and what the nodes say of those that they tried."""
        lied = dict.fromkeys(self._roster.lied, FaultCode.NOT_PROVEN)
        seen = []
        for node, used, worse in ((self._source, progress.road, {}), (self._destination, progress.store_road, lied)):
            roads: dict[str, FaultCode | None] = dict.fromkeys((used or "").split(", "))
            roads |= node.roads_met() if isinstance(node, Wayfarer) else {}
            seen.append(observation(node.name, self._offered.get(node.name), {**roads, **worse}))
        return tuple(each for each in seen if each.roads or each.services is not None)

    def _project_key(self, claimed: str | None) -> str:
        return self._asked(lambda: self._ledger.project_key(claimed, self._clock()))

    def _asked(self, ask: Callable[[], _Known]) -> _Known:
        """What earlier attempts left, however often the ledger must be asked."""
        while (reason := self._halt.reason) is None:
            try:
                return ask()
            except LedgerUnavailable:
                self._halt.wait(self._patience.ledger)
            except Fenced:
                self._halt.order(Reason.FENCED)
        raise TransferFault(FAULTS[reason])

    def _take_over(self, plan: Plan, held: frozenset[str]) -> None:
        self._announced, self._announced_by_series = plan.least, plan.announced_by_series
        self._warnings += plan.warnings
        for warning in plan.warnings:
            self._recorder.fault("warning", warning)
        self._roster.expect(plan.instances, held)
        for fault in plan.conflicts:
            self._roster.fail(fault.sop_instance_uid or "", fault)
        progress = self._roster.progress()
        detail = {"expected": progress.expected, "announced": plan.least, "stored": progress.stored}
        self._recorder.event("info", "Planned", f"{counted(progress.expected, 'instance')} expected.", detail)
        if held:
            told = f"At the destination already: {counted(len(held), 'instance')} of the series to be sent."
            self._recorder.event("warning", "AlreadyThere", told)

    def _send_directly(self, plan: Plan, wanted: Sequence[Wanted]) -> Sequence[Wanted]:
        """What is left to be fetched and sent by us: all of it where the road past us is not open, or not allowed."""
        from adit.transfer.direct import Direct

        dimse, source = self._assignment.destination.spec.dimse, self._source
        if (
            dimse is None
            or all(row.state in DONE_WITH for row in self._roster.rows())  # there is more, and who knows its names?
            or not isinstance(source, Mover)
            or self._treatment.changes
            or not self._destination.can_verify
        ):
            return wanted
        direct = Direct(
            source, self._destination, dimse.ae_title, self._roster, self._recorder, self._halt, self._patience
        )
        direct.run(wanted)
        self._warnings += direct.warnings
        self._sent_directly = direct.spoken_of
        return self._errands(plan)

    def _tell_of_unlisted(self) -> None:
        """The source sent, or failed to send, past us what it neither lists nor gives to us."""
        known = len(self._roster.rows())
        counted_out = any(each.code is FaultCode.INCOMPLETE and each.sop_instance_uid is None for each in self._faults)
        if self._sent_directly <= known or self._halt.reason is not None or counted_out:
            return
        fault = Fault(
            code=FaultCode.INCOMPLETE if self._faults else FaultCode.FETCHED_WITH_WARNING,
            message=f"The source spoke of {counted(self._sent_directly, 'instance')} that it sends to the destination, "
            f"and lists {known}; it gave us no more.",
            cure="Compare the study at the source with what arrived; if nothing is missing, leave out source.direct.",
            node=self._source.name,
        )
        (self._faults if self._faults else self._warnings).append(fault)
        self._recorder.fault("warning", fault)

    def _transfer(self, plan: Plan, wanted: Sequence[Wanted], destination: Node) -> None:
        """Fetch and store at once; returns when both have ended, whatever happened."""
        channel = Channel()
        intake = Intake(self._source.name, plan.patient_id, self._roster, channel, self._as_sent, self._halt)
        fetching = Fetching(self._source, self._roster, self._recorder, self._halt, intake, channel)
        delivery = Delivery(
            destination,
            self._source.name,
            channel,
            self._roster,
            self._treat,
            self._halt,
            self._patience,
            associations=self._assignment.destination_share.associations,
            sop_class_uids={row.sop_class_uid for row in self._roster.rows() if row.sop_class_uid},
            retired=lambda fault: self._recorder.fault("warning", fault),
        )
        delivery.start()
        try:
            fetching.run(plan, wanted, self._heard)
        except BaseException as error:
            channel.fail(bug_fault(error))
            raise
        finally:
            channel.close()
            delivery.join()
        if (bug := intake.error or delivery.error) is not None:
            raise bug
        self._warnings += [*fetching.warnings, *intake.warnings]
        for warning in intake.warnings:
            self._recorder.fault("warning", warning)
        # When the destination gave up, that is why the fetch ended.
        self._faults += fetching.faults if channel.fault is None else [channel.fault]

    def _treat(self, instance: Instance) -> Instance | None:
        """What is to be sent of it, with what was done to it written down."""
        try:
            treated = self._treatment.treat(instance, self._commit)
        except RefusedError as refused:
            self._note(instance, refused.record)
            raise
        if treated.record is not None:
            self._note(instance, treated.record)
        return treated.instance

    def _as_sent(self, instance: Instance) -> Instance | None:
        """Only to compare it with what was sent."""
        return self._treatment.treat(instance, self._commit).instance

    def _note(self, instance: Instance, record: TreatmentRecord) -> None:
        self._recorder.treatment(record)
        self._roster.treated(instance.sop_instance_uid, record.digest)

    def _commit(self, record: TreatmentRecord) -> None:
        self._recorder.treatment(record)
        if not self._recorder.flush():
            raise TransferFault(FAULTS[self._halt.reason or Reason.LEDGER_LOST])

    def _tell_of_empty_series(self, plan: Plan) -> None:
        """Nothing of them is missing by name or number; but whoever asked for one got nothing of it."""
        known = {row.series_instance_uid for row in self._roster.rows()}
        asked_for = self._assignment.series_instance_uids is not None
        for fault in plan.empty_series(known, self._source.name, asked_for=asked_for):
            (self._faults if asked_for else self._warnings).append(fault)
            self._recorder.fault("warning", fault)

    def _seal(self, destination: Sealing) -> None:
        """What is shown as a whole must be whole: nobody can tell by half a study's archive that there is more."""
        facts = replace(self._facts(), rows=self._roster.rows_once_sealed(), provable=False)
        if self._halt.reason is None and complete(facts) and self._recorder.flush():
            destination.seal()
            self._roster.sealed()
        else:
            self._recorder.event("warning", "NotSealed", "Nothing is shown at the destination: it would not be whole.")

    def _facts(self) -> Facts:
        return Facts(
            source=self._source.name,
            destination=self._destination.name,
            rows=self._roster.rows(),
            announced=self._announced,
            announced_by_series=self._announced_by_series,
            provable=self._destination.can_verify,
            reason=self._halt.reason,
            finished=self._finished,
            faults=tuple(self._faults),
            instance_faults=self._roster.faults,
            warnings=(*self._warnings, *self._roster.warnings),
        )


def _announce(plan: Plan, destination: Node, assignment: Assignment, treatment: Treatment) -> None:
    """Tells a folder what its study's folder is named by: the first instance alone does not know it.

    Of a study that leaves under another name the date is told by its treated instances only.
    """
    if assignment.destination.spec.folder is None:
        return
    from adit.dicom.folder import Filing, StudyFacts

    if isinstance(destination, Filing):
        when = (None, None) if treatment.deidentifies else (plan.study_date, plan.study_time)
        destination.announce(StudyFacts(treatment.study(plan.study_instance_uid), plan.modalities, *when))
