"""Storing by one of two ways: what was acknowledged goes once, and what one way refuses the other may take."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from adit.dicom.node import Instance, StoreChannel, Stored
from adit.dicom.two_faced.channel import Channel, Way, Ways
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests.unit.transfer.memory_node import MemoryInstance, fault

JPEG_XL = "1.2.840.10008.1.2.4.110"


class One:
    """A way that takes one instance at a time; `meets` are the faults of its next calls, None for none."""

    def __init__(self, name: str, *meets: FaultCode | None, refuses: str = "") -> None:
        self.name = name
        self.meets = list(meets)
        self.refuses = refuses  # a transfer syntax
        self.took: list[str] = []
        self.closed = 0

    def way(self) -> Way:
        return Way(self.name, self._open)

    def _open(self, sop_class_uids: Collection[str]) -> StoreChannel:
        return self

    def store(self, instance: Instance) -> Stored:
        if self.meets and (code := self.meets.pop(0)) is not None:
            raise fault(code)
        if instance.transfer_syntax_uid == self.refuses:
            raise fault(FaultCode.TRANSFER_SYNTAX_REFUSED, instance.sop_instance_uid)
        self.took.append(instance.sop_instance_uid)
        return Stored(instance.sop_instance_uid, "", "", instance.transfer_syntax_uid, 0, "", road=self.name)

    def close(self) -> None:
        self.closed += 1


class Several(One):
    instances_at_once = 16
    bytes_at_once = 1000

    def store_all(self, instances: Sequence[Instance]) -> Sequence[Stored | Fault | None]:
        outcomes: list[Stored | Fault | None] = []
        if self.meets and (code := self.meets.pop(0)) is not None:
            raise fault(code)
        for each in instances:
            try:
                outcomes.append(self.store(each))
            except TransferFault as refused:
                outcomes.append(refused.fault)
        return outcomes


def channel(*ways: One) -> Channel:
    return Channel(Ways([each.way() for each in ways]), ())


def jpeg_xl(uid: str) -> MemoryInstance:
    instance = MemoryInstance(uid)
    instance.transfer_syntax_uid = JPEG_XL
    return instance


def test_nobody_there_is_no_reason_to_wait_while_the_other_way_is_open() -> None:
    first, second = One("A", FaultCode.NODE_UNREACHABLE), One("B")
    opened = channel(first, second)
    assert opened.store(MemoryInstance("1.1")).road == "B"
    assert opened.store(MemoryInstance("1.2")).road == "B"
    assert (first.took, second.took) == ([], ["1.1", "1.2"])


@pytest.mark.parametrize(
    "code",
    [FaultCode.ASSOCIATION_ABORTED, FaultCode.NODE_TIMEOUT, FaultCode.STORE_FAILED, FaultCode.OUT_OF_RESOURCES],
)
def test_a_death_on_the_way_is_told_and_the_other_way_comes_next(code: FaultCode) -> None:
    """Who sends it again counts the deaths: an instance that kills every way is set aside."""
    first, second = One("A", code), One("B")
    opened = channel(first, second)
    with pytest.raises(TransferFault):
        opened.store(MemoryInstance("1.1"))
    assert opened.store(MemoryInstance("1.1")).road == "B"


def test_who_is_stopped_is_so_behind_both() -> None:
    first, second = One("A", FaultCode.INTERRUPTED), One("B")
    opened = channel(first, second)
    with pytest.raises(TransferFault):
        opened.store(MemoryInstance("1.1"))
    assert not second.took
    assert opened.store(MemoryInstance("1.1")).road == "A"


def test_a_form_that_one_way_refuses_is_offered_by_the_other_from_then_on() -> None:
    first, second = One("A", refuses=JPEG_XL), One("B")
    opened = channel(first, second)
    assert [opened.store(each).road for each in (jpeg_xl("1"), MemoryInstance("2"), jpeg_xl("3"))] == ["B", "A", "B"]
    assert first.took == ["2"]
    assert first.closed == 2  # it holds no association while the other has one


def test_a_form_that_both_refuse_is_the_instances_fault() -> None:
    with pytest.raises(TransferFault) as told:
        channel(One("A", refuses=JPEG_XL), One("B", refuses=JPEG_XL)).store(jpeg_xl("1.1"))
    assert (told.value.fault.code, told.value.fault.sop_instance_uid) == (FaultCode.TRANSFER_SYNTAX_REFUSED, "1.1")


def test_a_form_that_one_refuses_while_the_other_is_away_may_pass_later() -> None:
    with pytest.raises(TransferFault) as told:
        channel(One("A", refuses=JPEG_XL), One("B", FaultCode.NODE_UNREACHABLE)).store(jpeg_xl("1.1"))
    assert (told.value.fault.code, told.value.fault.sop_instance_uid) == (FaultCode.NODE_UNREACHABLE, "1.1")


def test_several_go_together_and_who_is_refused_goes_alone() -> None:
    first, second = Several("A", refuses=JPEG_XL), One("B")
    opened = channel(first, second)
    assert opened.instances_at_once == 16
    outcomes = opened.store_all([MemoryInstance("1.1"), jpeg_xl("1.2")])
    assert [None if each is None else getattr(each, "road", each) for each in outcomes] == ["A", None]
    assert opened.instances_at_once == 1
    assert opened.store(jpeg_xl("1.2")).road == "B"
    assert (first.took, second.took) == (["1.1"], ["1.2"])


def test_several_that_cannot_go_at_all_go_alone_by_the_other_way() -> None:
    first, second = Several("A", FaultCode.PERMISSION_DENIED), One("B")
    opened = channel(first, second)
    both = [MemoryInstance("1.1"), MemoryInstance("1.2")]
    assert opened.store_all(both) == [None, None]
    assert opened.instances_at_once == 1
    assert [opened.store(each).road for each in both] == ["B", "B"]
