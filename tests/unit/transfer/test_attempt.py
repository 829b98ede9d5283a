"""One attempt over nodes in memory: what it does, and what it goes on with where an earlier one was.

The same with real peers: tests/integration/transfer.
"""

from __future__ import annotations

from collections import Counter

import pytest

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from adit.transfer.roster import HELD_BEFORE
from tests.unit.transfer.bench import NAMES, Bench, E, S, V, row
from tests.unit.transfer.memory_node import MemoryNode, element, fault, study_of


def test_a_whole_study_arrives_and_is_proven() -> None:
    bench = Bench(*NAMES)
    report = bench.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert bench.states() == dict.fromkeys(NAMES, V)
    assert Counter(bench.destination.log) == Counter(NAMES)
    size = sum(len(element(name.encode())) for name in NAMES)
    progress = report.progress
    assert (progress.expected, progress.received, progress.stored, progress.verified) == (12, 12, 12, 12)
    assert (progress.bytes_received, progress.bytes_stored, progress.road) == (size, size, "MEMORY")


def test_expected_is_written_before_anything_is_fetched() -> None:
    bench = Bench(*NAMES)
    seen: list[dict[str, InstanceState]] = []

    def look(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        seen.append(bench.states())
        return node.send(wanted, deliver)

    bench.source.on_fetch = look
    bench.run()
    assert seen == [dict.fromkeys(NAMES, E)]


def test_a_pseudonym_is_refused_before_anything_is_asked() -> None:
    bench = Bench(*NAMES)
    report = bench.run(pseudonym="P-1")
    assert report.outcome is Outcome.PERMANENT_CONFIGURATION_FAULT
    assert report.faults[0].code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert (bench.source.queries, bench.ledger.writes) == ([], 0)


def test_a_second_attempt_fetches_only_what_is_not_stored_and_proves_the_rest() -> None:
    bench = Bench("1.1", "1.2", "1.3", "1.4")
    bench.destination.holds = study_of("1.1", "1.2")
    bench.ledger.rows = {uid: row(uid, state) for uid, state in (("1.1", V), ("1.2", S), ("1.3", E))}
    report = bench.run(number=2)
    assert report.outcome is Outcome.SUCCESS
    assert sorted(bench.destination.log) == ["1.3", "1.4"]
    assert [one.sop_instance_uids for one in bench.source.wanted] == [("1.3", "1.4")]
    assert set(bench.states().values()) == {V}


@pytest.mark.parametrize("known", [S, V])
def test_what_an_earlier_attempt_stored_and_the_destination_lost_goes_back_to_the_start(known: InstanceState) -> None:
    """Also what was proven then: each attempt proves all of its instances where they are to be now."""
    bench = Bench("1.1", "1.2", "1.3")
    bench.ledger.rows = {"1.1": row("1.1", known), "1.2": row("1.2", S), "1.3": row("1.3", S)}
    bench.destination.holds = study_of("1.2", "1.3")
    report = bench.run(number=2)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    assert bench.states() == {"1.1": E, "1.2": V, "1.3": V}
    assert bench.run(number=3).outcome is Outcome.SUCCESS
    assert bench.destination.log == ["1.1"]


def test_a_destinations_warning_is_not_forgotten_by_the_next_attempt() -> None:
    bench = Bench("1.1", "1.2")
    bench.destination.holds = study_of("1.1")
    bench.ledger.rows = {"1.1": row("1.1", S).model_copy(update={"dimse_status": 0xB000})}
    report = bench.run(number=2)
    assert report.outcome is Outcome.SUCCESS
    assert [(one.code, one.sop_instance_uid) for one in report.warnings] == [(FaultCode.STORED_WITH_WARNING, "1.1")]


def test_what_the_destination_held_before_is_never_plainly_green_whatever_happens_on_the_way() -> None:
    bench = Bench("1.1", "1.2", "1.3")
    bench.destination.holds = study_of("1.1")

    def refuse(node: MemoryNode, instance: Instance) -> None:
        raise fault(FaultCode.OUT_OF_RESOURCES, instance.sop_instance_uid, 0xA700)

    bench.destination.on_store = refuse
    assert bench.run().outcome is Outcome.TRANSIENT_FAULT
    marks = {uid: {known.dimse_status for known in records} for uid, records in bench.ledger.history.items()}
    assert marks == {"1.1": {HELD_BEFORE}, "1.2": {None, 0xA700}, "1.3": {None, 0xA700}}
    bench.destination.on_store = None
    for number in (2, 3):  # stored, and then only remembered
        report = bench.run(number=number)
        assert report.outcome is Outcome.SUCCESS
        [warning] = report.warnings
        assert (warning.code, warning.node) == (FaultCode.STORED_WITH_WARNING, "destination")
        assert (warning.sop_instance_uid, warning.status) == ("1.1", HELD_BEFORE)
        assert "cannot be told" in warning.message
    assert bench.ledger.codes().count("AlreadyThere") == 1


def test_what_an_attempt_sent_and_could_not_write_down_is_not_taken_for_held_before() -> None:
    bench = Bench("1.1", "1.2")
    bench.ledger.rows = {"1.1": row("1.1", E), "1.2": row("1.2", E)}
    bench.destination.holds = study_of("1.1")
    report = bench.run(number=2)
    assert (report.outcome, report.warnings) == (Outcome.SUCCESS, ())
    assert bench.destination.queries == []


@pytest.mark.parametrize("changes", [{"verifies_content": True}, {"can_verify": False}])
def test_only_where_presence_is_the_proof_is_presence_asked_first(changes: dict[str, bool]) -> None:
    bench = Bench("1.1")
    bench.destination.holds = study_of("1.1")
    for name, value in changes.items():
        setattr(bench.destination, name, value)
    assert FaultCode.STORED_WITH_WARNING not in {warning.code for warning in bench.run().warnings}
    assert bench.destination.queries == []


def test_a_failed_instances_fault_is_forgotten_when_it_is_tried_again() -> None:
    bench = Bench("1.1")
    bench.ledger.rows = {"1.1": row("1.1", E).model_copy(update={"fault_code": FaultCode.OUT_OF_RESOURCES})}
    assert bench.run(number=2).outcome is Outcome.SUCCESS
    assert bench.ledger.rows["1.1"].fault_code is None


def test_a_destination_that_cannot_be_asked_is_a_warning() -> None:
    bench = Bench(*NAMES)
    bench.destination.can_verify = False
    report = bench.run()
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.ARRIVAL_NOT_PROVABLE]
    assert set(bench.states().values()) == {S}


def test_a_mixture_of_refusals_is_retried_while_one_of_them_may_pass() -> None:
    bench = Bench("1.1", "1.2", "1.3")

    def refuse(node: MemoryNode, instance: Instance) -> None:
        if instance.sop_instance_uid == "1.1":
            raise fault(FaultCode.OUT_OF_RESOURCES, "1.1", 0xA700)
        if instance.sop_instance_uid == "1.2":
            raise fault(FaultCode.SOP_CLASS_REFUSED, "1.2", 0x0122)

    bench.destination.on_store = refuse
    report = bench.run()
    assert report.outcome is Outcome.TRANSIENT_FAULT
    assert [one.sop_instance_uid for one in report.faults] == ["1.1", "1.2"]
    assert bench.destination.log == ["1.3"]
    assert len(bench.source.wanted) == 1
