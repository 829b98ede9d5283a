"""The queue between fetching and storing, bounded in bytes, so that memory does not grow with the study.

One producer (the source's fetch) and several consumers (the store threads of `delivery`).
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Final

from adit.dicom.node import Instance
from adit.model.outcome import Fault, TransferFault

CAPACITY: Final = 32 * 2**20
"""Bytes between the source and the destination: queued and in the hands of store threads."""


class Parcel:
    """An instance on its way, and how many store channels have died while carrying it alone."""

    __slots__ = ("alone", "casualties", "instance", "size")

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.size = instance.size
        self.casualties = 0
        self.alone = False  # it goes by itself from now on: a channel died with it and others on board


class Channel:
    """A queue of parcels whose bytes count until they are settled, not only until they are taken.

    Invariants: what was put is taken until it is settled; the bytes outstanding exceed the capacity
    only by one parcel that is alone; nobody waits on a side that is gone.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._changed = Condition()
        self._queue: deque[Parcel] = deque()
        self._idle = 0  # threads that wait for a parcel
        self._outstanding = 0  # parcels queued or taken, not settled
        self._bytes = 0  # of the outstanding parcels
        self._closed = False
        self._fault: Fault | None = None

    def put(self, instance: Instance) -> None:
        """Takes the instance over; blocks while there is no room.

        Raises TransferFault when the consumers have given up: the instance stays the caller's.
        """
        with self._changed:
            while self._fault is None and self._outstanding and self._bytes + instance.size > self._capacity:
                self._changed.wait()
            if self._fault is not None:
                raise TransferFault(self._fault)
            self._queue.append(Parcel(instance))
            self._outstanding += 1
            self._bytes += instance.size
            self._changed.notify_all()

    def take(self) -> Parcel | None:
        """The next parcel; None when the producer has finished and every parcel is settled, or all is lost."""
        with self._changed:
            # A parcel in another thread's hands may come back: only then can this thread help.
            self._idle += 1
            while self._fault is None and not self._queue and not (self._closed and not self._outstanding):
                self._changed.wait()
            self._idle -= 1
            return None if self._fault is not None or not self._queue else self._queue.popleft()

    def take_more(self, first: Parcel, count: int, size: int) -> list[Parcel]:
        """What waits and may go along with `first`: in all so many, of so many bytes, and none for an idle thread."""
        taken: list[Parcel] = []
        with self._changed:
            total = first.size
            while (
                len(taken) + 1 < count
                and len(self._queue) > self._idle
                and not self._queue[0].alone
                and (total := total + self._queue[0].size) <= size
            ):
                taken.append(self._queue.popleft())
        return taken

    def put_back(self, parcel: Parcel) -> None:
        """Returns a taken parcel, to be taken by another thread; never blocks, its bytes are still counted."""
        with self._changed:
            if self._fault is None:
                self._queue.appendleft(parcel)
                self._changed.notify_all()
                return
        self.settle(parcel)

    def settle(self, parcel: Parcel) -> None:
        """Ends a taken parcel: stored or refused, its bytes are free again."""
        parcel.instance.close()
        with self._changed:
            self._outstanding -= 1
            self._bytes -= parcel.size
            self._changed.notify_all()

    def close(self) -> None:
        """The producer has finished."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, fault: Fault) -> None:
        """Nobody will take anything any more: the first fault stands, what is queued is dropped."""
        with self._changed:
            if self._fault is None:
                self._fault = fault
            dropped, self._queue = list(self._queue), deque()
            self._changed.notify_all()
        for parcel in dropped:
            self.settle(parcel)

    @property
    def fault(self) -> Fault | None:
        """Why the consumers gave up."""
        return self._fault
