"""The channel never holds more than its bytes, never loses a parcel, and never lets a side wait for a dead one."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adit.model.outcome import FaultCode, TransferFault
from adit.transfer.channel import Channel
from tests.unit.transfer.memory_node import MemoryInstance, fault


def instance(size: int, name: str = "1.1") -> MemoryInstance:
    return MemoryInstance(name, content=b"x" * size)


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_put_blocks_until_a_parcel_is_settled_not_only_taken() -> None:
    channel = Channel(10)
    channel.put(instance(8))
    second = in_thread(lambda: channel.put(instance(8)))
    parcel = channel.take()
    assert parcel is not None
    second.join(0.1)
    assert second.is_alive()
    channel.settle(parcel)
    second.join(5)
    assert not second.is_alive()


def test_what_is_bigger_than_the_channel_goes_through_alone() -> None:
    channel = Channel(10)
    channel.put(instance(100))
    second = in_thread(lambda: channel.put(instance(1)))
    second.join(0.1)
    assert second.is_alive()
    parcel = channel.take()
    assert parcel is not None
    channel.settle(parcel)
    second.join(5)
    assert not second.is_alive()


def test_a_blocked_producer_gets_the_fault_when_the_consumers_give_up() -> None:
    channel = Channel(10)
    channel.put(instance(10))
    met: list[TransferFault] = []

    def produce() -> None:
        try:
            channel.put(instance(10))
        except TransferFault as error:
            met.append(error)

    producer = in_thread(produce)
    channel.fail(fault(FaultCode.NODE_UNREACHABLE).fault)
    producer.join(5)
    assert [error.fault.code for error in met] == [FaultCode.NODE_UNREACHABLE]


def test_failing_drops_and_closes_what_is_queued_and_keeps_the_first_fault() -> None:
    channel = Channel(10)
    queued = instance(5)
    channel.put(queued)
    channel.fail(fault(FaultCode.NODE_UNREACHABLE).fault)
    channel.fail(fault(FaultCode.STORE_FAILED).fault)
    assert queued.closed == 1
    assert channel.take() is None
    assert channel.fault is not None
    assert channel.fault.code is FaultCode.NODE_UNREACHABLE
    with pytest.raises(TransferFault):
        channel.put(instance(1))


def test_a_waiting_consumer_ends_when_the_producer_closes() -> None:
    channel = Channel(10)
    taken: list[object] = []
    consumer = in_thread(lambda: taken.append(channel.take()))
    channel.close()
    consumer.join(5)
    assert taken == [None]


def test_an_idle_consumer_waits_for_a_parcel_that_may_come_back() -> None:
    channel = Channel(10)
    channel.put(instance(5))
    channel.close()
    parcel = channel.take()
    assert parcel is not None
    taken: list[object] = []
    idle = in_thread(lambda: taken.append(channel.take()))
    idle.join(0.1)
    assert idle.is_alive()
    channel.put_back(parcel)
    idle.join(5)
    assert taken == [parcel]


def test_what_is_put_back_after_the_end_is_closed() -> None:
    channel = Channel(10)
    late = instance(5)
    channel.put(late)
    parcel = channel.take()
    assert parcel is not None
    channel.fail(fault(FaultCode.NODE_UNREACHABLE).fault)
    channel.put_back(parcel)
    assert late.closed == 1


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), max_size=40),
    capacity=st.integers(1, 60),
    consumers=st.integers(1, 4),
    back=st.sets(st.integers(0, 39), max_size=10),
)
def test_every_parcel_is_settled_once_and_the_bound_holds(
    sizes: list[int], capacity: int, consumers: int, back: set[int]
) -> None:
    channel = Channel(capacity)
    lock = threading.Lock()
    held = 0
    peak = 0
    settled: Counter[str] = Counter()
    returned: set[str] = set()

    def consume() -> None:
        nonlocal held
        while (parcel := channel.take()) is not None:
            uid = parcel.instance.sop_instance_uid
            with lock:
                again = int(uid) in back and uid not in returned
                returned.add(uid)
                if not again:
                    settled[uid] += 1
                    held -= parcel.size
            channel.put_back(parcel) if again else channel.settle(parcel)

    threads = [in_thread(consume) for _ in range(consumers)]
    for number, size in enumerate(sizes):
        channel.put(instance(size, str(number)))
        with lock:
            held += size
            peak = max(peak, held)
    channel.close()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive()
    assert settled == Counter(str(number) for number in range(len(sizes)))
    assert peak <= max([capacity, *sizes])
