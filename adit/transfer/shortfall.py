"""Whether all that a source spoke of in a fetch has come by now. Pure but for the tally; called by `fetching`.

A source may know of more than it lists: what it announces or fails to send counts, listed or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault, TransferFault


class Shortfall(StrEnum):
    """What a fetch left out, seen from the end of all fetches."""

    NONE = "none"  # nothing: everything announced and listed came in this very fetch
    MADE_UP = "made up"  # something, and all of it came otherwise
    OPEN = "open"  # something that nobody has seen


class Tally:
    """Stands between a fetch and `deliver`, and counts what the source really sent."""

    def __init__(self, deliver: Deliver, heard: Callable[[int], None]) -> None:
        self._deliver = deliver
        self._heard = heard
        self.count = 0  # with repeats, and with what we refused
        self.spoken_of = 0  # sub-operations
        self.taken: set[str] = set()  # SOP Instance UIDs
        self.refused: set[str] = set()

    def hear(self, announced: int) -> None:
        if announced > self.spoken_of:
            self.spoken_of = announced
            self._heard(announced)

    def deliver(self, instance: Instance) -> None:
        uid = instance.sop_instance_uid
        self.count += 1
        try:
            self._deliver(instance)
        except TransferFault:
            self.refused.add(uid)
            raise
        self.taken.add(uid)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A fetch that its source did not call a plain success: `faults` are its words, or why it broke off."""

    wanted: Wanted
    report: FetchReport
    tally: Tally
    faults: tuple[Fault, ...]

    @classmethod
    def broken(cls, wanted: Wanted, tally: Tally, fault: Fault) -> Admitted:
        """One that gave no report."""
        return cls(wanted, FetchReport("", 0, 0, 0, announced=tally.spoken_of, cut=True), tally, (fault,))

    @property
    def tells_of_more(self) -> bool:
        """Whether it broke off after something came that is not listed, and nobody said how much of that there is."""
        unlisted = self.tally.taken - self.wanted.expected
        return bool(
            self.report.cut and unlisted and self.wanted.sop_instance_uids is None and not self.report.announced
        )


def shortfall(admitted: Admitted, rows: Collection[InstanceRecord]) -> Shortfall:
    """Measures a fetch by the rows known at the end, each of which has come in some way.

    A fetch of the study is measured by all of them, a fetch of a series or of names by just these. What broke off is
    measured by what its source had spoken of until then. A
    sub-operation that brought nothing is explained by a row that came by another fetch, or by a second copy
    of what came in this one, when the source names it.
    """
    report, tally = admitted.report, admitted.tally
    elsewhere = {row.sop_instance_uid for row in rows if _asks_for(admitted.wanted, row)} - tally.taken
    failed = set(report.failed_sop_instance_uids) - tally.refused
    spoken_of = max(report.announced, report.completed + report.failed + report.warning)
    barren = spoken_of - tally.count
    unknown = failed - {row.sop_instance_uid for row in rows}
    if unknown or admitted.tells_of_more or barren > len(elsewhere) + len(failed & tally.taken):
        return Shortfall.OPEN
    if barren > 0 or failed or elsewhere or tally.refused:
        return Shortfall.MADE_UP
    return Shortfall.NONE


def _asks_for(wanted: Wanted, row: InstanceRecord) -> bool:
    return wanted.series_instance_uid in (None, row.series_instance_uid) and (
        wanted.sop_instance_uids is None or row.sop_instance_uid in wanted.sop_instance_uids
    )
