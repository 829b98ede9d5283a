"""What ends an attempt before its time: a signal, the deadline, the ledger, a newer attempt, a bug."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.ledger.attempt_ledger import Fenced, LedgerUnavailable
from adit.model.outcome import FaultCode, Outcome
from tests.unit.transfer.bench import NAMES, Bench, E, S, V
from tests.unit.transfer.memory_ledger import NOW
from tests.unit.transfer.memory_node import MemoryNode, fault, send


def test_a_signal_stores_what_was_received_and_tells_so() -> None:
    bench = Bench(*NAMES)
    arrived = threading.Event()

    def endless(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        send(node.chosen(wanted)[:4], deliver)
        arrived.set()
        assert node.interrupted.wait(90)
        raise fault(FaultCode.INTERRUPTED)

    bench.source.on_fetch = endless

    def signal() -> None:
        arrived.wait(90)
        bench.stop.set()

    threading.Thread(target=signal, daemon=True).start()
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.CANCELLED, FaultCode.INTERRUPTED)
    assert Counter(bench.states().values()) == {S: 4, E: 8}
    assert len(bench.destination.log) == 4


def test_a_destination_that_hangs_is_interrupted_after_the_grace() -> None:
    bench = Bench(*NAMES)

    def hang(node: MemoryNode, instance: Instance) -> None:
        bench.stop.set()
        assert node.interrupted.wait(90)
        raise fault(FaultCode.INTERRUPTED)

    bench.destination.on_store = hang
    report = bench.run(grace=0.2)
    assert (report.outcome, report.faults[0].code) == (Outcome.CANCELLED, FaultCode.INTERRUPTED)


def test_the_deadline_ends_it() -> None:
    bench = Bench(*NAMES)

    def late(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        bench.now += timedelta(hours=1)
        assert node.interrupted.wait(90)
        raise fault(FaultCode.INTERRUPTED)

    bench.source.on_fetch = late
    report = bench.run(deadline=NOW + timedelta(minutes=30))
    assert (report.outcome, report.faults[0].code) == (Outcome.DEADLINE, FaultCode.DEADLINE_EXCEEDED)


def test_a_cancelled_job() -> None:
    bench = Bench(*NAMES)
    bench.ledger.stop = True
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.CANCELLED, FaultCode.CANCELLED)
    assert bench.destination.log == []


def test_a_ledger_that_is_away_for_a_moment_costs_nothing() -> None:
    bench = Bench(*NAMES)

    def away(number: int) -> None:
        if number in (1, 3):
            raise LedgerUnavailable("away")

    bench.ledger.before_write = away
    assert bench.run().outcome is Outcome.SUCCESS
    assert set(bench.states().values()) == {V}


def test_a_ledger_that_stays_away_ends_it_before_the_lease_is_out() -> None:
    bench = Bench(*NAMES)

    def away(number: int) -> None:
        raise LedgerUnavailable("away")

    bench.ledger.before_write = away
    report = bench.run(lease_seconds=2)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.INTERRUPTED)
    assert bench.source.wanted == []


def test_a_fenced_attempt_touches_nothing_any_more() -> None:
    bench = Bench(*NAMES)

    def fenced(number: int) -> None:
        raise Fenced

    bench.ledger.before_write = fenced
    report = bench.run()
    assert report.outcome is not Outcome.SUCCESS
    assert (bench.source.wanted, bench.destination.log) == ([], [])


@pytest.mark.parametrize("where", ["find", "fetch", "store", "verify", "open"])
def test_a_bug_is_told_by_type_and_place_and_never_by_its_text(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(*NAMES)

    def bug(*anything: object, **more: object) -> None:
        raise KeyError("Doe^Jane")

    if where == "open":
        monkeypatch.setattr(bench, "open", bug)
    elif where == "store":
        bench.destination.on_store = bug
    else:
        monkeypatch.setattr(bench.source if where != "verify" else bench.destination, where, bug)
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.BUG, FaultCode.UNEXPECTED)
    assert "KeyError at transfer/test_early_end.py" in report.faults[0].message
    assert "Doe" not in report.model_dump_json()
