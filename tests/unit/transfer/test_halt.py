"""A halt stops the source at once and the destination after its grace; a lost lease stops both at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from adit.transfer.halt import Halt, Reason, Watchdog
from tests.peers.server_process import wait_until
from tests.unit.transfer.memory_ledger import NOW


@dataclass
class Watched:
    halt: Halt = field(default_factory=Halt)
    stop: threading.Event = field(default_factory=threading.Event)
    source: threading.Event = field(default_factory=threading.Event)
    destination: threading.Event = field(default_factory=threading.Event)
    now: datetime = NOW
    quiet: float = 0.0
    grace: float = 0.2

    def __post_init__(self) -> None:
        self.dog = Watchdog(
            self.halt,
            stop=self.stop,
            clock=lambda: self.now,
            deadline=NOW + timedelta(seconds=60),
            seconds_since_write=lambda: self.quiet,
            lease_seconds=30,
            grace=self.grace,
            interrupt_source=self.source.set,
            interrupt_destination=self.destination.set,
            tick=0.01,
        )
        self.dog.start()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.dog.close()


def test_a_signal(watched: Watched) -> None:
    watched.stop.set()
    assert watched.source.wait(5)
    assert watched.halt.reason is Reason.INTERRUPTED
    assert watched.destination.wait(5)


def test_the_deadline(watched: Watched) -> None:
    watched.now += timedelta(seconds=60)
    assert watched.source.wait(5)
    assert watched.halt.reason is Reason.DEADLINE


def test_most_of_a_lease_without_a_write(watched: Watched) -> None:
    watched.quiet = 19.9
    assert not watched.source.wait(0.1)
    watched.quiet = 20.1
    assert watched.destination.wait(5)
    assert watched.halt.abrupt


def test_losing_the_attempt_cuts_the_grace_short() -> None:
    watched = Watched(grace=600)
    watched.stop.set()
    assert watched.source.wait(5)
    assert not watched.destination.is_set()
    watched.halt.order(Reason.FENCED)
    assert watched.destination.wait(5)
    assert watched.halt.reason is Reason.FENCED
    watched.dog.close()


def test_the_first_graceful_reason_stands() -> None:
    halt = Halt()
    halt.order(Reason.DEADLINE)
    halt.order(Reason.CANCELLED)
    assert halt.reason is Reason.DEADLINE


def test_closing_ends_it_without_interrupting_anybody() -> None:
    watched = Watched()
    watched.dog.close()
    assert not watched.source.is_set()
    wait_until(lambda: not watched.halt.abrupt, "nothing is halted", 1)
