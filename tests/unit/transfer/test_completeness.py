"""A source that sends fewer, or more, than it listed or spoke of: healed where it can be, and never quietly green."""

from __future__ import annotations

from collections import Counter

import pytest

from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.model.outcome import FaultCode, Outcome
from tests.unit.transfer.bench import NAMES, Bench, E, S, V, row
from tests.unit.transfer.memory_node import MemoryNode, fault, send, study_of


def test_a_source_that_sends_fewer_is_asked_again_by_name_and_believed_when_it_still_does() -> None:
    bench = Bench(*NAMES)

    def most(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        return send(node.chosen(wanted)[: 10 if wanted.sop_instance_uids is None else 1], deliver)

    bench.source.on_fetch = most
    report = bench.run()
    assert [one.sop_instance_uids for one in bench.source.wanted] == [None, ("1.10", "1.11")]
    assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
    assert report.faults[0].sop_instance_uid == "1.11"
    assert bench.ledger.rows["1.11"].fault_code is FaultCode.INCOMPLETE
    assert report.progress.verified == 11


def test_a_fetch_that_breaks_off_is_healed_in_the_same_attempt() -> None:
    bench = Bench(*NAMES)

    def break_off(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        if wanted.sop_instance_uids is None:
            send(node.chosen(wanted)[:5], deliver)
            raise fault(FaultCode.ASSOCIATION_ABORTED)
        return node.send(wanted, deliver)

    bench.source.on_fetch = break_off
    report = bench.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert Counter(bench.destination.log) == Counter(NAMES)
    assert "Healed" in bench.ledger.codes()


def test_a_fetch_that_breaks_off_amid_what_is_not_listed_is_not_healed() -> None:
    """Nobody said how many there are, and the list is known to be too short."""
    bench = Bench(*NAMES)
    bench.source.unlisted = NAMES[1:]

    def break_off(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        send(node.chosen(wanted)[:5], deliver)
        raise fault(FaultCode.ASSOCIATION_ABORTED)

    bench.source.on_fetch = break_off
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.ASSOCIATION_ABORTED)
    bench.source.on_fetch = None
    assert bench.run(number=2).outcome is Outcome.SUCCESS
    assert Counter(bench.destination.log) == Counter(NAMES)


def test_a_source_that_cannot_be_reached_is_left_to_the_next_attempt() -> None:
    bench = Bench(*NAMES)

    def gone(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        send(node.chosen(wanted)[:5], deliver)
        raise fault(FaultCode.NODE_UNREACHABLE)

    bench.source.on_fetch = gone
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE)
    assert len(bench.source.wanted) == 1
    assert Counter(bench.states().values()) == {V: 5, E: 7}
    assert all(one.fault_code is None for one in bench.ledger.rows.values())


def test_success_with_nothing_sent_is_empty() -> None:
    bench = Bench(*NAMES)
    bench.source.on_fetch = lambda node, wanted, deliver: FetchReport("MEMORY", 0, 0, 0)
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED)


def test_an_instance_that_the_source_got_meanwhile_comes_along() -> None:
    bench = Bench(*NAMES)
    bench.source.unlisted = {"1.3"}
    report = bench.run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 12)
    assert "Added" in bench.ledger.codes()


def test_announced_and_neither_listed_nor_sent_is_never_quiet() -> None:
    bench = Bench(*NAMES)
    bench.source.announced = 13
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
    assert set(bench.states().values()) == {V}


@pytest.mark.parametrize(
    ("failed", "uids", "announced"), [(2, ("9.1", "9.2"), 0), (2, (), 0), (0, (), 14)], ids=["named", "counted", "told"]
)
def test_what_the_source_spoke_of_and_nobody_saw_is_never_green_in_any_attempt(
    failed: int, uids: tuple[str, ...], announced: int
) -> None:
    bench = Bench(*NAMES)

    def hide(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        done = node.send(wanted, deliver).completed
        said = fault(FaultCode.INCOMPLETE).fault
        return FetchReport("MEMORY", done, failed, 0, uids, (said,), announced)

    bench.source.on_fetch = hide
    for number in (1, 2):
        report = bench.run(number=number)
        assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
        assert "Healed" not in bench.ledger.codes()
    assert Counter(bench.destination.log) == Counter(NAMES)
    bench.source.on_fetch = None
    assert bench.run(number=3).outcome is Outcome.SUCCESS


def test_a_failure_status_on_a_fetch_that_brought_everything_is_a_warning() -> None:
    bench = Bench(*NAMES)
    said = fault(FaultCode.FETCH_FAILED, status=0xC001).fault
    bench.source.on_fetch = lambda node, wanted, deliver: node.send(wanted, deliver, faults=(said,))
    report = bench.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert [(one.code, one.status) for one in report.warnings] == [(FaultCode.FETCHED_WITH_WARNING, 0xC001)]


def test_what_failed_in_the_first_round_and_came_in_the_second_is_healed_without_a_warning() -> None:
    bench = Bench(*NAMES)

    def most(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        if wanted.sop_instance_uids is not None:
            return node.send(wanted, deliver)
        done = send(node.chosen(wanted)[:10], deliver).completed
        said = fault(FaultCode.INCOMPLETE).fault
        return FetchReport("MEMORY", done, 2, 0, ("1.10", "1.11"), (said,), 12)

    bench.source.on_fetch = most
    report = bench.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert "Healed" in bench.ledger.codes()


@pytest.mark.parametrize("heard", [2, 3])
def test_what_an_earlier_attempt_heard_of_is_not_made_up_for_by_a_fetch_that_fails(heard: int) -> None:
    bench = Bench("1.1", "1.2")
    bench.destination.holds = study_of("1.1", "1.2")
    bench.ledger.rows = {uid: row(uid, S) for uid in ("1.1", "1.2")}

    def hang_up(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        raise fault(FaultCode.ASSOCIATION_ABORTED)

    bench.source.on_fetch = hang_up
    report = bench.run(number=2, announced=heard)
    assert report.outcome is (Outcome.SUCCESS if heard == 2 else Outcome.TRANSIENT_FAULT)
