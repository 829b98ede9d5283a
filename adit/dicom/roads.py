"""By which road objects are fetched from a peer that offers several: the best one that works, the next where it fails.

Called by the nodes of peers. A road that failed is remembered, and tried last from then on; what it brought is not
asked for again. The report says which roads brought something, and which were left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.model.outcome import WARNINGS, Fault, FaultCode, Outcome, TransferFault


@dataclass(frozen=True, slots=True)
class Road:
    name: str  # such as C-GET
    fetch: Callable[[Wanted, Deliver], FetchReport]
    mendable: frozenset[FaultCode]  # which of its faults another road may mend


class Roads:
    """Safe for threads."""

    def __init__(self, best_first: Sequence[Road]) -> None:
        if not best_first:
            raise ValueError("without a road nothing can be fetched")
        self._order = list(best_first)
        self._lock = threading.Lock()
        self._met: dict[str, FaultCode | None] = {}

    @property
    def met(self) -> Mapping[str, FaultCode | None]:
        """Each road that was tried, and what was wrong with it the last time; None where nothing was."""
        with self._lock:
            return dict(self._met)

    def try_last(self, names: Collection[str]) -> None:
        with self._lock:
            self._order.sort(key=lambda road: road.name in names)

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        """By the first road that brings all, or the last that ended. Raises TransferFault where none did.

        A study or a series of which something came is not asked for as a whole again: what a broken road left out of
        it is a fault in the report, and to be asked for by name.
        """
        arrivals = _Arrivals(deliver, wanted.heard)
        tried: list[FetchReport] = []
        broken: list[Fault] = []
        roads = self._in_order()
        for road in roads:
            left = arrivals.left_of(wanted)
            if left is None:
                break
            before = arrivals.count
            try:
                report = road.fetch(replace(left, heard=arrivals.hear), arrivals.take)
            except TransferFault as error:
                if arrivals.stopped or error.fault.code not in road.mendable:
                    raise
                self._note(road, error.fault.code)
                broken.append(error.fault)
                if arrivals.count > before and len(roads) > 1:
                    faults = () if arrivals.have_all_of(wanted) else (error.fault,)
                    spoken_of = arrivals.spoken_of
                    tried.append(
                        FetchReport(
                            road.name, arrivals.count - before, 0, 0, faults=faults, announced=spoken_of, cut=True
                        )
                    )
                continue
            tried.append(report)
            wrong = [fault for fault in report.faults if fault.code in road.mendable]
            self._note(road, wrong[0].code if wrong else None)
            if not wrong:
                break
            broken += wrong
        if not tried:
            raise TransferFault(worth_telling(broken))
        return _told(tried, broken)

    def _in_order(self) -> list[Road]:
        with self._lock:
            return list(self._order)

    def _note(self, road: Road, wrong: FaultCode | None) -> None:
        with self._lock:
            self._met[road.name] = wrong
            if wrong is not None:
                self._order.remove(road)
                self._order.append(road)


class _Arrivals:
    """Stands before `deliver`, and remembers what came by any road."""

    def __init__(self, deliver: Deliver, heard: Callable[[int], None]) -> None:
        self._deliver = deliver
        self._heard = heard
        self.spoken_of = 0  # the most instances that a source told of
        self._uids: set[str] = set()
        self.count = 0  # of those that were taken
        self.stopped = False  # `deliver` wants no more at all

    def take(self, instance: Instance) -> None:
        self._uids.add(instance.sop_instance_uid)
        try:
            self._deliver(instance)
        except TransferFault as refusal:
            self.stopped = self.stopped or refusal.fault.sop_instance_uid is None
            raise
        self.count += 1

    def hear(self, announced: int) -> None:
        self.spoken_of = max(self.spoken_of, announced)
        self._heard(announced)

    def have_all_of(self, wanted: Wanted) -> bool:
        """Whether all came that is listed, and nothing tells of more: what broke off then broke nothing."""
        unlisted = self._uids - wanted.expected
        if wanted.sop_instance_uids is None and (unlisted or self.spoken_of > len(self._uids)):
            return False
        return bool(wanted.expected) and wanted.expected <= self._uids

    def left_of(self, wanted: Wanted) -> Wanted | None:
        """What the next road is asked for: all while nothing has come, else what is missing, where it has names."""
        if not self._uids:
            return wanted
        if wanted.sop_instance_uids is None:
            return None
        names = tuple(uid for uid in wanted.sop_instance_uids if uid not in self._uids)
        return replace(wanted, sop_instance_uids=names) if names else None


def worth_telling(faults: Sequence[Fault]) -> Fault:
    """Of several roads' faults one that may pass, if there is one: then another attempt is worth while."""
    return next((fault for fault in faults if fault.outcome is Outcome.TRANSIENT_FAULT), faults[-1])


def _told(tried: Sequence[FetchReport], broken: Sequence[Fault]) -> FetchReport:
    """One word for all. The last road's on what is missing stands; of the earlier what they say of single instances."""
    *earlier, last = tried
    said = [
        fault
        for report in earlier
        for fault in report.faults
        if fault.sop_instance_uid is not None or fault.code in WARNINGS
    ]
    brought = dict.fromkeys(report.road for report in tried if report.completed or report is last)
    faults = (*said, *last.faults)
    return FetchReport(
        road=", ".join(brought),
        completed=sum(report.completed for report in tried),
        failed=last.failed,
        warning=sum(report.warning for report in tried),
        failed_sop_instance_uids=last.failed_sop_instance_uids,
        faults=faults,
        announced=max(report.announced for report in tried),
        left=(*last.left, *(fault for fault in broken if fault not in faults)),
        cut=last.cut,
    )
