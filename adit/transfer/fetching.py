"""Asks the source for what is missing, believes its final word, and asks once more by name. Called by `attempt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from adit.dicom.node import FetchReport, Node, Wanted
from adit.model.counted import counted
from adit.model.outcome import WARNINGS, Fault, FaultCode, TransferFault
from adit.transfer.channel import Channel
from adit.transfer.errands import refetch
from adit.transfer.halt import Halt
from adit.transfer.intake import Intake
from adit.transfer.plan import Plan
from adit.transfer.recorder import Recorder
from adit.transfer.roster import Admission, Roster
from adit.transfer.shortfall import Admitted, Shortfall, Tally, shortfall
from adit.transfer.verdict import incomplete, short_series

_MENDABLE: Final = {FaultCode.ASSOCIATION_ABORTED, FaultCode.FETCH_FAILED}
"""What broke off a fetch but leaves the source there to be asked again at once."""


@dataclass(slots=True)
class _Round:
    """What went wrong in one round: what broke a fetch off, the source's final word, and instances' own faults."""

    broken: list[Fault] = field(default_factory=list)
    cut: list[Admitted] = field(default_factory=list)  # the same, with how far it came
    admitted: list[Admitted] = field(default_factory=list)
    named: dict[str, Fault] = field(default_factory=dict)

    @property
    def said(self) -> list[Fault]:
        return [fault for one in self.admitted for fault in one.faults]


class Fetching:
    """The fetches of one attempt. `faults` are those that left something missing, `warnings` stand anyway."""

    def __init__(
        self, source: Node, roster: Roster, recorder: Recorder, halt: Halt, intake: Intake, channel: Channel
    ) -> None:
        self._source = source
        self._roster = roster
        self._recorder = recorder
        self._halt = halt
        self._intake = intake
        self._channel = channel
        self._silent = False  # something was asked for as a whole, and nobody said how much it is
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []

    def run(self, plan: Plan, wanted: Sequence[Wanted], heard: int = 0) -> None:
        """Two rounds at most: the wanted, then by name those that did not come.

        `heard` is the most instances of the task that the source spoke of before, listed or not.
        """
        first = last = self._round(wanted)
        unseen = self._roster.unseen()
        if unseen and not self._ending and all(fault.code in _MENDABLE for fault in first.broken):
            told = f"{counted(len(unseen), 'instance')} did not come; asked again by name."
            self._recorder.event("info", "FetchedAgain", told)
            last = self._round(refetch(plan, unseen))
            unseen = self._roster.unseen()
        self._tell_of_strays()
        if self._ending:
            return
        rows = self._roster.rows()
        if self._silent and heard > len(rows):
            self.faults.append(self._unmatched(heard, len(rows)))
        if unseen or len(rows) < plan.least or short_series(plan.announced_by_series, rows):
            self.faults += [*last.broken, *last.said]
            for one in (*first.admitted, *first.cut):
                self._tell_of_unlisted(one)
        else:
            self._weigh([first] if last is first else [first, last], heard)
        if not last.broken:
            for uid in (row.sop_instance_uid for row in unseen):
                self._roster.fail(uid, last.named.get(uid) or incomplete(self._source.name, uid))

    def _weigh(self, rounds: Sequence[_Round], heard: int) -> None:
        """All that was listed came. What the source said all the same is healed, a warning, or of the unlisted.

        No fetch that failed makes up for what was heard of before and is not here.
        """
        rows = self._roster.rows()
        doubtful = heard > len(rows)
        healed = any(met.broken for met in rounds)
        for one in (one for met in rounds for one in met.admitted):
            match Shortfall.OPEN if doubtful else shortfall(one, rows):
                case Shortfall.OPEN:
                    self.faults += one.faults
                case Shortfall.NONE:
                    self._warn(_in_spite(one))
                case Shortfall.MADE_UP:
                    healed = True
        for one in (one for met in rounds for one in met.cut):
            if doubtful or shortfall(one, rows) is Shortfall.OPEN:
                self.faults += one.faults
                self._tell_of_unlisted(one)
        if healed and not self.faults:
            self._recorder.event("info", "Healed", "Every instance came in spite of the source's faults.")

    def _tell_of_unlisted(self, one: Admitted) -> None:
        listed = len(self._roster.rows())
        if one.wanted.series_instance_uid is None and one.report.announced > listed:
            unlisted = Fault(
                code=FaultCode.FETCHED_WITH_WARNING,
                message=f"The source spoke of {counted(one.report.announced, 'instance')}, but lists {listed}.",
                cure="Compare the study at the source with what arrived.",
                node=self._source.name,
            )
            self._warn(unlisted)

    def _warn(self, warning: Fault) -> None:
        self.warnings.append(warning)
        self._recorder.fault("warning", warning)

    def _round(self, wanted: Sequence[Wanted]) -> _Round:
        met = _Round()
        for one in wanted:
            if self._ending:
                break
            # Noted while the source speaks: what an attempt has heard, a later one must know, however this one ends.
            tally = Tally(self._intake.deliver, partial(self._roster.heard, one))
            try:
                report = self._source.fetch(replace(one, heard=tally.hear), tally.deliver)
            except TransferFault as error:
                if self._ending or self._intake.error is not None:
                    break  # our own doing
                met.broken.append(error.fault)
                met.cut.append(Admitted.broken(one, tally, error.fault))
                self._recorder.fault("warning", error.fault)
                if error.fault.code not in _MENDABLE:
                    break
            else:
                self._note(one, report, tally, met)
        return met

    def _note(self, wanted: Wanted, report: FetchReport, tally: Tally, met: _Round) -> None:
        self._roster.came_by(report.road)
        self._silent = self._silent or (wanted.sop_instance_uids is None and not tally.spoken_of)
        said: list[Fault] = []
        detail = {"completed": report.completed, "failed": report.failed, "warning": report.warning}
        detail |= {"announced": report.announced} if report.announced else {}
        self._recorder.event("info", "Fetched", f"{report.road}: {counted(report.completed, 'instance')}.", detail)
        for fault in report.left:
            self._recorder.fault("warning", fault)
        for fault in report.faults:
            self._recorder.fault("warning", fault)
            if fault.code in WARNINGS:
                self.warnings.append(fault)
            elif fault.sop_instance_uid is not None:
                met.named[fault.sop_instance_uid] = fault
            else:
                said.append(fault)
        if not said and tally.spoken_of > tally.count:
            said.append(self._unmatched(tally.spoken_of, tally.count))
        if said:
            met.admitted.append(Admitted(wanted, report, tally, tuple(said)))

    def _unmatched(self, spoken_of: int, came: int) -> Fault:
        """A road that broke, now or in an earlier attempt, spoke of more than the next one brought and called all."""
        return Fault(
            code=FaultCode.INCOMPLETE,
            message=f"The source spoke of {counted(spoken_of, 'instance')} by one road, and sent {came} by another.",
            cure="Compare the study at the source with what arrived.",
            node=self._source.name,
        )

    @property
    def _ending(self) -> bool:
        return self._halt.reason is not None or self._channel.fault is not None

    def _tell_of_strays(self) -> None:
        strays, added, repeated = (
            self._intake.counts[kind] for kind in (Admission.FOREIGN, Admission.ADDED, Admission.REPEATED)
        )
        if strays:
            stray = Fault(
                code=FaultCode.FETCHED_WITH_WARNING,
                message=f"The source sent {counted(strays, 'instance')} of another study or series, "
                "and we passed on none.",
                cure="Look at the source: it answers a retrieve with data of something else.",
                node=self._source.name,
            )
            self._warn(stray)
        if added:
            self._recorder.event("info", "Added", f"{counted(added, 'instance')} came that the source had not listed.")
        if repeated:
            self._recorder.event("info", "Repeated", f"{counted(repeated, 'instance')} came twice, and counted once.")


def _in_spite(admitted: Admitted) -> Fault:
    """The source called a fetch failed that brought everything."""
    said = admitted.faults[0]
    return said.model_copy(
        update={
            "code": FaultCode.FETCHED_WITH_WARNING,
            "message": f"All that the source listed and announced came, but it said: {said.message}",
            "cure": "Look for this moment in the node's log: it may know of something that it does not list.",
        }
    )
