"""Instances that are not what was asked for, or not what they say they are, amid a study in memory."""

from __future__ import annotations

from collections import Counter

import pytest

from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.model.outcome import FaultCode, Outcome
from tests.unit.transfer.bench import NAMES, Bench, S, V, row
from tests.unit.transfer.memory_node import CT, MemoryInstance, MemoryNode, element, send, study_of


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
    assert warning.message.startswith("1 instance came as of another SOP class")
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
