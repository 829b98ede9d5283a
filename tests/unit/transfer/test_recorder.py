"""The recorder writes the newest of everything, loses nothing while the ledger is away, and obeys its orders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from adit.ledger.attempt_ledger import Fenced, LedgerUnavailable
from adit.model.assignment import Progress
from adit.model.instance import InstanceRecord, InstanceState
from adit.transfer.halt import Halt, Reason
from adit.transfer.patience import Patience
from adit.transfer.recorder import Recorder
from tests.peers.server_process import wait_until
from tests.unit.transfer.memory_ledger import NOW, MemoryLedger, assignment

HASTY = Patience(ledger=0.01)


def clock() -> datetime:
    return NOW


def row(uid: str, state: InstanceState) -> InstanceRecord:
    return InstanceRecord(sop_instance_uid=uid, series_instance_uid="1", state=state)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def halt() -> Halt:
    return Halt()


@pytest.fixture
def recorder(ledger: MemoryLedger, halt: Halt) -> Iterator[Recorder]:
    recorder = Recorder(ledger, assignment(lease_seconds=4), halt, clock=clock, patience=HASTY)
    recorder.start(Progress)
    yield recorder
    recorder.close()


def test_many_changes_are_one_write_of_the_newest(ledger: MemoryLedger, recorder: Recorder) -> None:
    for state in (InstanceState.EXPECTED, InstanceState.RECEIVED, InstanceState.STORED):
        recorder.record(row("1.1", state))
    assert recorder.flush()
    assert ledger.rows["1.1"].state is InstanceState.STORED
    assert len(ledger.history["1.1"]) == 1


def test_what_could_not_be_written_is_written_later_and_newer_records_win(
    ledger: MemoryLedger, recorder: Recorder
) -> None:
    def away(number: int) -> None:
        if number == 1:
            recorder.record(row("1.1", InstanceState.STORED))  # comes while the write is under way
            raise LedgerUnavailable("away")

    ledger.before_write = away
    recorder.record(row("1.1", InstanceState.RECEIVED))
    recorder.record(row("1.2", InstanceState.RECEIVED))
    recorder.event("info", "Test", "told once")
    assert recorder.flush()
    assert {uid: one.state for uid, one in ledger.rows.items()} == {
        "1.1": InstanceState.STORED,
        "1.2": InstanceState.RECEIVED,
    }
    assert ledger.codes() == ["Test"]


def test_a_quiet_attempt_still_says_that_it_lives(ledger: MemoryLedger, recorder: Recorder) -> None:
    wait_until(lambda: ledger.writes >= 2, "two heartbeats were written", 10)


def test_fenced_stops_the_attempt_for_good(ledger: MemoryLedger, halt: Halt, recorder: Recorder) -> None:
    def fenced(number: int) -> None:
        raise Fenced

    ledger.before_write = fenced
    recorder.record(row("1.1", InstanceState.STORED))
    assert not recorder.flush()
    assert halt.reason is Reason.FENCED
    assert halt.abrupt


def test_the_ledgers_order_to_stop_is_graceful(ledger: MemoryLedger, halt: Halt, recorder: Recorder) -> None:
    ledger.stop = True
    assert recorder.flush()
    assert halt.reason is Reason.CANCELLED
    assert not halt.abrupt
    recorder.record(row("1.1", InstanceState.STORED))
    assert recorder.flush()
    assert ledger.rows["1.1"].state is InstanceState.STORED


def test_a_lease_counts_from_the_beginning_of_the_last_write_that_succeeded(ledger: MemoryLedger, halt: Halt) -> None:
    now = 100.0
    recorder = Recorder(ledger, assignment(), halt, clock=clock, patience=HASTY, monotonic=lambda: now)

    def slow(number: int) -> None:
        nonlocal now
        now += 5

    ledger.before_write = slow
    recorder.flush()
    assert recorder.seconds_since_write() == 5


def test_a_bug_of_the_recorders_own_ends_the_attempt_and_is_told(ledger: MemoryLedger, halt: Halt) -> None:
    def bug(number: int) -> None:
        raise ZeroDivisionError

    ledger.before_write = bug
    recorder = Recorder(ledger, assignment(), halt, clock=clock, patience=HASTY)
    recorder.start(Progress)
    recorder.record(row("1.1", InstanceState.STORED))
    wait_until(lambda: halt.reason is not None, "the attempt is told to end", 10)
    with pytest.raises(ZeroDivisionError):
        recorder.close()
