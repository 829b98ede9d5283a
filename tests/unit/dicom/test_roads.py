"""Roads: the best first, the next where one fails, and nothing asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.dicom.roads import Road, Roads
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests.unit.transfer.memory_node import MemoryInstance, fault

STUDY = Wanted("1.2.3")
NAMES = ("1.1", "1.2", "1.3", "1.4")
NAMED = Wanted("1.2.3", series_instance_uid="1.2.3.1", sop_instance_uids=NAMES)
MENDABLE = {FaultCode.ASSOCIATION_ABORTED, FaultCode.NODE_TIMEOUT, FaultCode.SERVICE_NOT_OFFERED, FaultCode.INCOMPLETE}


class Way:
    """A road that brings some, and then ends as it is told; it keeps what it was asked for."""

    def __init__(
        self,
        name: str,
        *brings: str,
        raises: FaultCode | None = None,
        says: FaultCode | None = None,
        speaks_of: int = 0,
    ) -> None:
        self.name = name
        self.speaks_of = speaks_of
        self.brings = brings
        self.raises = raises
        self.says = says
        self.asked: list[Wanted] = []

    def road(self) -> Road:
        return Road(self.name, self._fetch, frozenset(MENDABLE))

    def _fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        self.asked.append(wanted)
        wanted.heard(self.speaks_of)
        for uid in self.brings:
            if wanted.sop_instance_uids is None or uid in wanted.sop_instance_uids:
                deliver(MemoryInstance(uid))
        if self.raises is not None:
            raise fault(self.raises)
        said = () if self.says is None else (Fault(code=self.says, message="said", node=self.name),)
        return FetchReport(self.name, len(self.brings), 0, 0, faults=said)


def roads(*ways: Way) -> Roads:
    return Roads([way.road() for way in ways])


def into(came: list[str]) -> Callable[[Instance], None]:
    return lambda instance: came.append(instance.sop_instance_uid)


def codes(faults: Sequence[Fault]) -> list[FaultCode]:
    return [each.code for each in faults]


def test_the_first_that_works_is_enough() -> None:
    first, second = Way("A", *NAMES), Way("B", *NAMES)
    report = roads(first, second).fetch(STUDY, into([]))
    assert (report.road, report.completed, report.faults, report.left) == ("A", 4, (), ())
    assert not second.asked


@pytest.mark.parametrize("raised", [True, False])
def test_one_that_brings_nothing_is_left_and_told(raised: bool) -> None:
    code = FaultCode.SERVICE_NOT_OFFERED
    first = Way("A", raises=code) if raised else Way("A", says=code)
    second, came = Way("B", *NAMES), list[str]()
    chosen = roads(first, second)
    report = chosen.fetch(STUDY, into(came))
    assert (report.road, report.faults, codes(report.left)) == ("B", (), [code])
    assert came == list(NAMES)
    assert second.asked == [STUDY]
    assert chosen.met == {"A": code, "B": None}
    chosen.fetch(STUDY, into([]))
    assert len(first.asked) == 1  # it is tried last from now on


def test_what_came_is_not_asked_for_again() -> None:
    first, second = Way("A", "1.1", "1.3", raises=FaultCode.NODE_TIMEOUT), Way("B", *NAMES)
    came = list[str]()
    report = roads(first, second).fetch(NAMED, into(came))
    assert [each.sop_instance_uids for each in second.asked] == [("1.2", "1.4")]
    assert sorted(came) == list(NAMES)
    assert (report.road, report.faults, codes(report.left)) == ("A, B", (), [FaultCode.NODE_TIMEOUT])


def test_a_study_that_broke_off_is_not_asked_for_again_as_a_whole() -> None:
    first, second = Way("A", "1.1", raises=FaultCode.NODE_TIMEOUT), Way("B", *NAMES)
    chosen = roads(first, second)
    report = chosen.fetch(STUDY, into([]))
    assert (report.road, report.completed, codes(report.faults)) == ("A", 1, [FaultCode.NODE_TIMEOUT])
    assert not second.asked
    assert chosen.fetch(NAMED, into([])).road == "B"


def test_what_broke_off_after_all_that_is_listed_came_broke_nothing() -> None:
    first, second = Way("A", *NAMES, raises=FaultCode.ASSOCIATION_ABORTED), Way("B", *NAMES)
    listed = Wanted("1.2.3", expected=frozenset(NAMES))
    report = roads(first, second).fetch(listed, into([]))
    assert (report.completed, report.faults, codes(report.left)) == (4, (), [FaultCode.ASSOCIATION_ABORTED])
    assert not second.asked


@pytest.mark.parametrize(("listed", "spoken_of"), [(NAMES[:2], 0), (NAMES, 6)])
def test_what_broke_off_while_there_was_more_broke_something(listed: Sequence[str], spoken_of: int) -> None:
    first = Way("A", *NAMES, raises=FaultCode.ASSOCIATION_ABORTED, speaks_of=spoken_of)
    report = roads(first, Way("B")).fetch(Wanted("1.2.3", expected=frozenset(listed)), into([]))
    assert codes(report.faults) == [FaultCode.ASSOCIATION_ABORTED]
    assert (report.cut, report.announced) == (True, spoken_of)


def test_a_single_road_that_breaks_off_is_a_fault() -> None:
    with pytest.raises(TransferFault):
        roads(Way("A", "1.1", raises=FaultCode.NODE_TIMEOUT)).fetch(STUDY, into([]))


def test_of_several_faults_the_one_that_may_pass_is_told() -> None:
    broken = roads(Way("A", raises=FaultCode.NODE_TIMEOUT), Way("B", raises=FaultCode.SERVICE_NOT_OFFERED))
    with pytest.raises(TransferFault) as told:
        broken.fetch(STUDY, into([]))
    assert told.value.fault.code is FaultCode.NODE_TIMEOUT


def test_what_no_road_can_mend_ends_it() -> None:
    second = Way("B", *NAMES)
    with pytest.raises(TransferFault):
        roads(Way("A", raises=FaultCode.DISK_FULL), second).fetch(STUDY, into([]))
    assert not second.asked


def test_who_wants_no_more_is_not_offered_it_by_another_road() -> None:
    second = Way("B", *NAMES)

    def enough(instance: Instance) -> None:
        raise fault(FaultCode.NODE_TIMEOUT)

    with pytest.raises(TransferFault):
        roads(Way("A", *NAMES), second).fetch(STUDY, enough)
    assert not second.asked


def test_a_refused_instance_is_not_fetched_by_another_road() -> None:
    second, came = Way("B", *NAMES), list[str]()

    def deliver(instance: Instance) -> None:
        if instance.sop_instance_uid == "1.1":
            raise fault(FaultCode.INSTANCE_CONFLICT, "1.1")
        came.append(instance.sop_instance_uid)

    class Careful(Way):
        def _fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
            with pytest.raises(TransferFault):
                deliver(MemoryInstance("1.1"))
            deliver(MemoryInstance("1.2"))
            raise fault(FaultCode.ASSOCIATION_ABORTED)

    roads(Careful("A"), second).fetch(NAMED, deliver)
    assert [each.sop_instance_uids for each in second.asked] == [("1.3", "1.4")]
    assert came == ["1.2", "1.3", "1.4"]
