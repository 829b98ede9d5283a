"""No wrong green: success needs every announced instance proven; else the most mendable fault decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.model.assignment import Progress, Report
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import WARNINGS, Fault, FaultCode, Outcome
from adit.transfer.halt import Reason
from adit.transfer.verdict import Facts, verdict

E, R, S, V = InstanceState.EXPECTED, InstanceState.RECEIVED, InstanceState.STORED, InstanceState.VERIFIED


def rows(*states: InstanceState) -> list[InstanceRecord]:
    return [
        InstanceRecord(sop_instance_uid=f"1.{number}", series_instance_uid="1", state=state)
        for number, state in enumerate(states)
    ]


def of(code: FaultCode, number: int | None = None) -> Fault:
    return Fault(code=code, message="m", sop_instance_uid=None if number is None else f"1.{number}")


def judge(**changes: object) -> Report:
    values: dict[str, object] = {"source": "pacs", "destination": "archive", **changes}
    return verdict(Facts(**values), Progress())  # type: ignore[arg-type]


def test_all_verified() -> None:
    report = judge(rows=rows(V, V), announced=2)
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())


def test_acknowledged_but_not_provable_is_a_success_with_a_warning() -> None:
    report = judge(rows=rows(S, V), provable=False)
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.ARRIVAL_NOT_PROVABLE]


def test_acknowledged_but_not_proven_is_transient() -> None:
    report = judge(rows=rows(S, V))
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)


def test_an_open_fault_may_tell_of_what_has_no_row() -> None:
    assert judge(rows=rows(V), faults=[of(FaultCode.FETCH_FAILED)]).outcome is Outcome.TRANSIENT_FAULT
    assert judge(rows=rows(V), faults=[of(FaultCode.INCOMPLETE)]).outcome is Outcome.PARTIAL


def test_a_verified_row_with_a_fault_is_not_green() -> None:
    row = rows(V)[0].model_copy(update={"fault_code": FaultCode.INSTANCE_CONFLICT})
    report = judge(rows=[row], instance_faults=[of(FaultCode.INSTANCE_CONFLICT, 0)])
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT


def test_nothing_expected_is_empty() -> None:
    report = judge()
    assert (report.outcome, report.faults[0].code) == (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED)


def test_expected_and_nothing_sent_is_empty_and_keeps_the_sources_word() -> None:
    missing = [of(FaultCode.INCOMPLETE, number) for number in range(2)]
    report = judge(rows=rows(E, E), instance_faults=missing)
    assert (report.outcome, report.faults[0].code) == (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED)
    said = of(FaultCode.NOTHING_RECEIVED)
    assert judge(rows=rows(E, E), faults=[said], instance_faults=missing).faults == (said,)


def test_less_than_announced_is_partial() -> None:
    report = judge(rows=rows(V, E), instance_faults=[of(FaultCode.INCOMPLETE, 1)])
    assert (report.outcome, report.faults[0].sop_instance_uid) == (Outcome.PARTIAL, "1.1")
    unlisted = judge(rows=rows(V, V), announced=3)
    assert (unlisted.outcome, unlisted.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)


def test_mendable_faults_come_before_permanent_ones() -> None:
    both = [of(FaultCode.SOP_CLASS_REFUSED, 0), of(FaultCode.OUT_OF_RESOURCES, 1)]
    report = judge(rows=rows(R, R, V), instance_faults=both)
    assert report.outcome is Outcome.TRANSIENT_FAULT
    assert [fault.code for fault in report.faults] == [FaultCode.OUT_OF_RESOURCES, FaultCode.SOP_CLASS_REFUSED]
    assert judge(rows=rows(R, R, V), instance_faults=both[:1]).outcome is Outcome.PERMANENT_DATA_FAULT


def test_a_wrong_configuration_is_not_retried_because_something_else_is_transient() -> None:
    faults = [of(FaultCode.NODE_TIMEOUT), of(FaultCode.TLS_FAILED)]
    assert judge(rows=rows(E), faults=faults).outcome is Outcome.PERMANENT_CONFIGURATION_FAULT


@pytest.mark.parametrize(
    ("reason", "outcome", "code"),
    [
        (Reason.CANCELLED, Outcome.CANCELLED, FaultCode.CANCELLED),
        (Reason.INTERRUPTED, Outcome.CANCELLED, FaultCode.INTERRUPTED),
        (Reason.TOO_LONG, Outcome.TRANSIENT_FAULT, FaultCode.INTERRUPTED),
        (Reason.DEADLINE, Outcome.DEADLINE, FaultCode.DEADLINE_EXCEEDED),
        (Reason.LEDGER_LOST, Outcome.TRANSIENT_FAULT, FaultCode.INTERRUPTED),
    ],
)
def test_an_early_stop_decides_unless_everything_was_done(reason: Reason, outcome: Outcome, code: FaultCode) -> None:
    report = judge(rows=rows(V, R), reason=reason, faults=[of(FaultCode.TLS_FAILED)])
    assert (report.outcome, report.faults[0].code) == (outcome, code)
    assert judge(rows=rows(V, V), reason=reason).outcome is Outcome.SUCCESS


def test_what_the_profile_leaves_out_is_not_missing_and_no_success_either() -> None:
    assert judge(rows=rows(V, InstanceState.LEFT_OUT), announced=2).outcome is Outcome.SUCCESS
    report = judge(rows=rows(InstanceState.LEFT_OUT), announced=1)
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.NOTHING_TO_SEND)


def test_a_report_names_at_most_twenty_faults() -> None:
    many = [of(FaultCode.INSTANCE_REFUSED, number) for number in range(100)]
    assert len(judge(rows=rows(*[R] * 100), instance_faults=many).faults) == 20


_faults = st.lists(st.sampled_from(sorted(set(FaultCode) - WARNINGS)).map(of), max_size=4)


@given(
    states=st.lists(st.sampled_from(list(InstanceState)), max_size=5),
    announced=st.integers(0, 6),
    provable=st.booleans(),
    reason=st.none() | st.sampled_from(list(Reason)),
    faults=_faults,
    instance_faults=_faults,
)
def test_success_is_proven_and_everything_else_says_why(
    states: list[InstanceState],
    announced: int,
    provable: bool,
    reason: Reason | None,
    faults: list[Fault],
    instance_faults: list[Fault],
) -> None:
    report = judge(
        rows=rows(*states),
        announced=announced,
        provable=provable,
        reason=reason,
        faults=faults,
        instance_faults=instance_faults,
    )
    there = (V,) if provable else (S, V)
    sent = [state for state in states if state is not InstanceState.LEFT_OUT]
    proven = not faults and bool(sent) and len(states) >= announced and all(state in there for state in sent)
    assert (report.outcome is Outcome.SUCCESS) == proven
    assert proven or report.faults
