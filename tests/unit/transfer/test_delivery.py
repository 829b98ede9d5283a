"""What was acknowledged is never sent again; a dead channel costs nothing; a refused instance stops no other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from adit.dicom.node import Instance
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode
from adit.transfer.channel import Channel
from adit.transfer.delivery import Delivery
from adit.transfer.halt import Halt
from adit.transfer.patience import Patience
from adit.transfer.roster import Roster
from tests.unit.transfer.memory_node import STUDY, MemoryInstance, MemoryNode, fault


@dataclass
class Road:
    """A delivery with everything around it; `send` fills the channel and waits for the end."""

    destination: MemoryNode
    associations: int = 1
    channel: Channel = field(default_factory=lambda: Channel(1000))
    retired: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows: dict[str, InstanceRecord] = {}
        self.roster = Roster(
            STUDY, None, self.destination.name, lambda row: self.rows.__setitem__(row.sop_instance_uid, row)
        )
        self.delivery = Delivery(
            self.destination,
            "source",
            self.channel,
            self.roster,
            lambda instance: instance,
            Halt(),
            Patience(reopen=(0, 0, 0)),
            associations=self.associations,
            sop_class_uids=(),
            retired=self.retired.append,
        )

    def send(self, *names: str) -> list[MemoryInstance]:
        instances = [MemoryInstance(name) for name in names]
        for instance in instances:
            self.roster.admit(instance)
            self.channel.put(instance)
        self.channel.close()
        self.delivery.start()
        self.delivery.join()
        return instances

    def states(self) -> dict[str, InstanceState]:
        return {uid: row.state for uid, row in self.rows.items()}


NAMES = tuple(f"1.{number}" for number in range(20))


def test_everything_is_stored_once_by_several_threads_and_freed() -> None:
    road = Road(MemoryNode(), associations=4)
    instances = road.send(*NAMES)
    assert Counter(road.destination.log) == Counter(NAMES)
    assert set(road.states().values()) == {InstanceState.STORED}
    assert all(row.sha256 and row.size for row in road.rows.values())
    assert {instance.closed for instance in instances} == {1}
    assert road.channel.fault is None


def test_a_refused_instance_keeps_its_fault_and_the_others_go_on() -> None:
    def refuse(node: MemoryNode, instance: Instance) -> None:
        if instance.sop_instance_uid == "1.3":
            raise fault(FaultCode.OUT_OF_RESOURCES, "1.3", 0xA700)

    road = Road(MemoryNode(on_store=refuse))
    road.send(*NAMES)
    assert Counter(road.destination.log) == Counter(set(NAMES) - {"1.3"})
    row = road.rows["1.3"]
    assert (row.state, row.fault_code, row.dimse_status) == (InstanceState.RECEIVED, FaultCode.OUT_OF_RESOURCES, 0xA700)
    assert road.destination.opened == 1


def test_a_channel_that_dies_costs_nothing() -> None:
    died: set[str] = set()

    def die_once(node: MemoryNode, instance: Instance) -> None:
        if instance.sop_instance_uid in ("1.3", "1.9") and instance.sop_instance_uid not in died:
            died.add(instance.sop_instance_uid)
            raise fault(FaultCode.ASSOCIATION_ABORTED)

    road = Road(MemoryNode(on_store=die_once))
    road.send(*NAMES)
    assert Counter(road.destination.log) == Counter(NAMES)
    assert road.destination.opened == 3


def test_an_instance_that_kills_its_channels_is_set_aside() -> None:
    def die(node: MemoryNode, instance: Instance) -> None:
        if instance.sop_instance_uid == "1.3":
            raise fault(FaultCode.ASSOCIATION_ABORTED)

    road = Road(MemoryNode(on_store=die), associations=2)
    road.send(*NAMES)
    assert Counter(road.destination.log) == Counter(set(NAMES) - {"1.3"})
    assert road.rows["1.3"].fault_code is FaultCode.ASSOCIATION_ABORTED
    [named] = road.roster.faults
    assert named.sop_instance_uid == "1.3"


def test_a_destination_that_is_gone_ends_it_after_a_few_tries() -> None:
    def refuse(number: int) -> None:
        raise fault(FaultCode.NODE_UNREACHABLE)

    road = Road(MemoryNode(on_open=refuse), associations=2)
    instances = road.send("1.1", "1.2", "1.3")
    assert road.channel.fault is not None
    assert road.channel.fault.code is FaultCode.NODE_UNREACHABLE
    assert road.destination.opened <= 8
    assert {instance.closed for instance in instances} == {1}
    assert set(road.states().values()) == {InstanceState.RECEIVED}


def test_a_wrong_configuration_is_not_tried_again() -> None:
    def reject(number: int) -> None:
        raise fault(FaultCode.ASSOCIATION_REJECTED)

    road = Road(MemoryNode(on_open=reject))
    road.send("1.1")
    assert road.destination.opened == 1
    assert road.channel.fault is not None
    assert road.channel.fault.code is FaultCode.ASSOCIATION_REJECTED


def test_fewer_associations_than_hoped_for_are_enough() -> None:
    def only_one(number: int) -> None:
        if number > 1:
            raise fault(FaultCode.ASSOCIATION_REJECTED_TRANSIENT)

    road = Road(MemoryNode(on_open=only_one), associations=3)
    road.send(*NAMES)
    assert Counter(road.destination.log) == Counter(NAMES)
    assert road.channel.fault is None
    assert all(one.code is FaultCode.ASSOCIATION_REJECTED_TRANSIENT for one in road.retired)


@pytest.mark.parametrize("code", [FaultCode.DISK_FULL, FaultCode.PERMISSION_DENIED])
def test_what_every_instance_would_meet_ends_it_at_once(code: FaultCode) -> None:
    def full(node: MemoryNode, instance: Instance) -> None:
        raise fault(code, instance.sop_instance_uid)

    road = Road(MemoryNode(on_store=full))
    road.send(*NAMES)
    assert road.channel.fault is not None
    assert (road.channel.fault.code, road.channel.fault.sop_instance_uid) == (code, None)
    assert len(road.roster.faults) == 1


def test_a_bug_in_a_store_thread_is_kept_and_nobody_hangs() -> None:
    def bug(node: MemoryNode, instance: Instance) -> None:
        raise KeyError("x")

    road = Road(MemoryNode(on_store=bug), associations=2)
    road.send(*NAMES)
    assert isinstance(road.delivery.error, KeyError)
