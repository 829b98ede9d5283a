"""The road past us: the source is asked to send to the destination itself, and the destination what has arrived.

Called by `attempt` before anything is fetched, where the job asks for it. What does not get there so is left to be
fetched and sent by us, whatever the source said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from adit.dicom.node import DIRECT, FetchReport, Level, Mover, Node, Query, Wanted
from adit.model.counted import counted
from adit.model.instance import InstanceRecord
from adit.model.outcome import WARNINGS, Fault, FaultCode, TransferFault
from adit.transfer.halt import Halt
from adit.transfer.patience import Patience
from adit.transfer.recorder import Recorder
from adit.transfer.roster import DONE_WITH, Roster
from adit.transfer.verification import stored_as

_REFUSED: Final = {
    FaultCode.MOVE_DESTINATION_UNKNOWN,
    FaultCode.SERVICE_NOT_OFFERED,
    FaultCode.PERMISSION_DENIED,
}
"""Nothing was sent, and nothing else will be."""


class Direct:
    """`spoken_of` is the most instances of the task that the source spoke of, listed or not."""

    def __init__(
        self,
        source: Mover,
        destination: Node,
        ae_title: str,
        roster: Roster,
        recorder: Recorder,
        halt: Halt,
        patience: Patience,
    ) -> None:
        self._source = source
        self._destination = destination
        self._ae_title = ae_title
        self._roster = roster
        self._recorder = recorder
        self._halt = halt
        self._patience = patience
        self._study = ""
        self._seen = 0
        self.spoken_of = 0
        self.warnings: list[Fault] = []

    def run(self, wanted: Sequence[Wanted]) -> None:
        """Raises TransferFault when the destination cannot be asked."""
        for one in wanted:
            if self._halt.reason is not None:
                return
            self._study = one.study_instance_uid
            self._seen = self._there(one)
            try:
                report = self._source.move_to(
                    replace(one, heard=partial(self._roster.heard, one)), self._ae_title, partial(self._arriving, one)
                )
            except TransferFault as error:
                if self._halt.reason is None:
                    self._recorder.fault("warning", error.fault)
                    if error.fault.code in WARNINGS:
                        self.warnings.append(error.fault)
                break  # no final word, or none of what was asked for: nobody knows what is on its way, nothing counts
            self._note(one, report)
            if any(fault.code in _REFUSED for fault in report.faults):
                break
            self._look(one, report)
        left = sum(row.state not in DONE_WITH for row in self._roster.rows())
        if left and self._halt.reason is None:
            self._recorder.event("warning", "NotDirect", f"{counted(left, 'instance')} did not get there by {DIRECT}.")

    def _note(self, wanted: Wanted, report: FetchReport) -> None:
        detail = {"completed": report.completed, "failed": report.failed, "warning": report.warning}
        told = f"{DIRECT}: the source speaks of {counted(report.completed, 'instance')}."
        self._recorder.event("info", "Moved", told, detail)
        for fault in report.faults:
            self._recorder.fault("warning", fault)
            if fault.code in WARNINGS:
                self.warnings.append(fault)
        # What it has and does not list, nobody can ask the destination for: it is fetched by us, and counted there.
        self._roster.heard(wanted, max(report.announced, report.completed + report.failed + report.warning))
        self.spoken_of = max(self.spoken_of, self._roster.progress().announced)

    def _look(self, wanted: Wanted, report: FetchReport) -> None:
        """Marks what the destination lists; asks again as long as more comes, or the source says that there is more."""
        for delay in (0.0, *self._patience.ask_again):
            if delay and self._halt.wait(delay):
                return
            missing = [
                row for row in self._missing(wanted) if row.sop_instance_uid not in report.failed_sop_instance_uids
            ]
            found = 0
            for proof in self._destination.verify(self._study, [stored_as(row) for row in missing]) if missing else ():
                if proof.present:
                    self._roster.moved(proof.sop_instance_uid, DIRECT)
                    found += 1
            if found == len(missing) or not (found or report.completed or report.warning):
                return

    def _missing(self, wanted: Wanted) -> list[InstanceRecord]:
        return [
            row
            for row in self._roster.rows()
            if row.state not in DONE_WITH and row.fault_code is None and row.sop_instance_uid in wanted.expected
        ]

    def _arriving(self, wanted: Wanted) -> bool:
        before, self._seen = self._seen, self._there(wanted)
        return self._seen > before

    def _there(self, wanted: Wanted) -> int:
        """How many of them the destination lists now."""
        series = {row.series_instance_uid for row in self._missing(wanted)}
        count = 0
        for uid in series:
            keys = {"StudyInstanceUID": self._study, "SeriesInstanceUID": uid}
            found = self._destination.find(Query(Level.IMAGE, keys))
            count += sum(str(answer.get("SOPInstanceUID", "")) in wanted.expected for answer in found)
        return count
