"""One attempt over nodes in memory: resume, completeness, hostile sources, early stops.

The same with real peers: tests/integration/transfer.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.ledger.attempt_ledger import Fenced, LedgerUnavailable
from adit.model.assignment import Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import FaultCode, Outcome
from adit.transfer.attempt import run_attempt
from adit.transfer.patience import Patience
from adit.transfer.roster import HELD_BEFORE
from tests.unit.transfer.memory_ledger import NOW, MemoryLedger, assignment
from tests.unit.transfer.memory_node import CT, MemoryInstance, MemoryNode, element, fault, send, study_of

V, S, E = InstanceState.VERIFIED, InstanceState.STORED, InstanceState.EXPECTED
NAMES = tuple(f"1.{number}" for number in range(12))


def row(uid: str, state: InstanceState, series: str = "1.2.3.1") -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=uid, series_instance_uid=series, state=state, size=1, sha256="0" * 64, sop_class_uid="1.2"
    )


class Bench:
    """A source, a destination and a ledger, and an attempt between them."""

    def __init__(self, *names: str) -> None:
        self.source = MemoryNode("source", holds=study_of(*names))
        self.destination = MemoryNode("destination")
        self.ledger = MemoryLedger()
        self.stop = threading.Event()
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def open(self, node: DicomNode, share: Share) -> MemoryNode:
        return self.source if node.metadata.name == "source" else self.destination

    def run(self, grace: float = 5, **changes: object) -> Report:
        patience = Patience(grace=grace, reopen=(0, 0, 0), ask_again=(0.01,), ledger=0.01)
        return run_attempt(
            self.ledger, self.open, assignment(**changes), clock=self.clock, stop=self.stop, patience=patience
        )

    def states(self) -> dict[str, InstanceState]:
        return {uid: row.state for uid, row in self.ledger.rows.items()}


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


def test_what_belongs_to_another_study_or_series_never_passes() -> None:
    bench = Bench(*NAMES)

    def stray(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        strangers = [MemoryInstance("9.1", study="9.9"), MemoryInstance("9.2", series="1.2.3.9")]
        return send([*strangers, *node.chosen(wanted)], deliver)

    bench.source.on_fetch = stray
    report = bench.run(series_instance_uids=("1.2.3.1",))
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.FETCHED_WITH_WARNING]
    assert Counter(bench.destination.log) == Counter(NAMES)
    assert "9.1" not in bench.ledger.rows


def test_a_source_that_sends_everything_twice_changes_nothing() -> None:
    bench = Bench(*NAMES)
    bench.source.on_fetch = lambda node, wanted, deliver: send(node.chosen(wanted) * 2, deliver)
    report = bench.run()
    assert (report.outcome, report.warnings) == (Outcome.SUCCESS, ())
    assert Counter(bench.destination.log) == Counter(NAMES)


def test_one_uid_with_two_contents_is_a_conflict_and_never_green() -> None:
    bench = Bench("1.1", "1.2")

    def two_faced(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        return send([*node.chosen(wanted), MemoryInstance("1.1", content=element(b"other"))], deliver)

    bench.source.on_fetch = two_faced
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_CONFLICT)
    assert bench.ledger.rows["1.1"].fault_code is FaultCode.INSTANCE_CONFLICT
    assert bench.states() == {"1.1": S, "1.2": V}


def test_what_an_earlier_attempt_stored_is_not_sent_again_when_the_whole_must_be_fetched_again() -> None:
    bench = Bench("1.1", "1.2", "1.3")
    bench.source.unlisted = {"1.3"}
    bench.source.announced = 3
    bench.destination.holds = study_of("1.1", "1.2")
    bench.ledger.rows = {"1.1": row("1.1", S), "1.2": row("1.2", V)}
    report = bench.run(number=2)
    assert [one.sop_instance_uids for one in bench.source.wanted] == [None]
    assert bench.destination.log == ["1.3"]
    assert (report.outcome, bench.states()) == (Outcome.SUCCESS, dict.fromkeys(("1.1", "1.2", "1.3"), V))


def test_a_conflict_is_still_one_in_the_next_attempt() -> None:
    bench = Bench("1.1")
    bench.destination.holds = study_of("1.1")
    bench.ledger.rows = {"1.1": row("1.1", S).model_copy(update={"fault_code": FaultCode.INSTANCE_CONFLICT})}
    assert bench.run(number=2).outcome is Outcome.PERMANENT_DATA_FAULT


def test_an_instance_of_another_patient_passes_with_a_warning_that_names_no_patient() -> None:
    bench = Bench(*NAMES)
    bench.source.holds["1.3"].content = element(b"1.3", b"OTHER ")
    report = bench.run()
    [warning] = report.warnings
    assert (report.outcome, warning.code) == (Outcome.SUCCESS, FaultCode.PATIENT_ID_MISMATCH)
    assert warning.sop_instance_uid == "1.3"
    assert "OTHER" not in str(warning)
    assert "PAT" not in str(warning)


def named(uid: str, sop_class: str = CT) -> bytes:
    """A data set that says which instance it is, and of which class."""
    values = ((b"\x16", sop_class), (b"\x18", uid))
    padded = ((number, value.encode() + b"\0" * (len(value) % 2)) for number, value in values)
    return b"".join(b"\x08\0%s\0UI%s%s" % (at, len(value).to_bytes(2, "little"), value) for at, value in padded) + (
        element(uid.encode())
    )


def test_an_instance_that_came_as_of_another_class_is_sent_as_what_it_is() -> None:
    bench, rt = Bench("1.1", "1.2"), "1.2.840.10008.5.1.4.1.1.481.3"
    bench.source.holds["1.1"].content = named("1.1", rt)
    bench.source.holds["1.2"].content = named("1.2")
    report = bench.run()
    [warning] = report.warnings
    assert (report.outcome, warning.code) == (Outcome.SUCCESS, FaultCode.FETCHED_WITH_WARNING)
    assert warning.sop_instance_uid == "1.1"
    assert warning.message.startswith("1 instances came as of another SOP class")
    assert bench.destination.holds["1.1"].sop_class_uid == bench.ledger.rows["1.1"].sop_class_uid == rt
    assert bench.destination.holds["1.2"].sop_class_uid == CT


@pytest.mark.parametrize("own", ["", "CT Image", "1.2\\1.3", "9" * 65])
def test_a_class_that_is_none_is_not_told_to_the_destination(own: str) -> None:
    bench = Bench("1.1")
    bench.source.holds["1.1"].content = named("1.1", own)
    report = bench.run()
    assert [warning.code for warning in report.warnings] == [FaultCode.FETCHED_WITH_WARNING] * bool(own)
    assert (report.outcome, bench.destination.holds["1.1"].sop_class_uid) == (Outcome.SUCCESS, CT)


def test_an_instance_that_came_as_another_one_is_refused() -> None:
    bench = Bench("1.1", "1.2")
    bench.source.holds["1.1"].content = named("1.9")
    report = bench.run()
    assert [(each.code, each.sop_instance_uid) for each in report.faults] == [(FaultCode.INSTANCE_UNREADABLE, "1.1")]
    assert (report.outcome, set(bench.destination.holds)) == (Outcome.PERMANENT_DATA_FAULT, {"1.2"})


def test_an_instance_in_another_encoding_than_its_transfer_syntax_is_told_of() -> None:
    bench = Bench("1.1", "1.2")
    bench.source.holds["1.1"].transfer_syntax_uid = "1.2.840.10008.1.2"
    report = bench.run()
    [warning] = report.warnings
    assert (report.outcome, warning.code) == (Outcome.SUCCESS, FaultCode.FETCHED_WITH_WARNING)
    assert warning.sop_instance_uid == "1.1"
    assert "transfer syntax" in warning.message


def test_one_uid_in_another_series_than_planned_is_a_conflict() -> None:
    bench = Bench("1.1", "1.2")
    bench.source.on_fetch = lambda node, wanted, deliver: send(
        [MemoryInstance("1.1", series="1.2.3.5"), *node.chosen(wanted)], deliver
    )
    report = bench.run()
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT
    assert bench.states()["1.2"] is V


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
    assert "KeyError at transfer/test_attempt.py" in report.faults[0].message
    assert "Doe" not in report.model_dump_json()
