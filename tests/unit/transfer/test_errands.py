"""Nothing that the destination has is asked for again, unless the source's lists cannot be trusted."""

from __future__ import annotations

from adit.dicom.node import Wanted
from adit.model.instance import InstanceRecord, InstanceState
from adit.transfer.errands import errands, refetch
from adit.transfer.plan import Plan, PlannedSeries

E, S, V = InstanceState.EXPECTED, InstanceState.STORED, InstanceState.VERIFIED


def rows(series: str, *states: InstanceState, sop_class: str | None = "1.2.840") -> list[InstanceRecord]:
    return [
        InstanceRecord(
            sop_instance_uid=f"{series}.{number}", series_instance_uid=series, sop_class_uid=sop_class, state=state
        )
        for number, state in enumerate(states, start=1)
    ]


def plan(*series: list[InstanceRecord], announced: int | None = None, series_announced: int | None = None) -> Plan:
    planned = tuple(PlannedSeries(one[0].series_instance_uid, tuple(one), series_announced) for one in series)
    return Plan("1", "PAT", planned, announced)


def shape(wanted: list[Wanted]) -> list[tuple[str | None, tuple[str, ...] | None]]:
    return [(one.series_instance_uid, one.sop_instance_uids) for one in wanted]


def test_a_fresh_study_is_one_errand_with_its_classes_and_the_sources_patient_id() -> None:
    a, b = rows("5", E, E), rows("6", E)
    [one] = errands(plan(a, b), [*a, *b], whole_study=True)
    assert (one.series_instance_uid, one.sop_instance_uids, one.patient_id) == (None, None, "PAT")
    assert one.sop_class_uids == {"1.2.840"}


def test_an_unknown_class_leaves_the_classes_open() -> None:
    a = rows("5", E, sop_class=None)
    [one] = errands(plan(a), a, whole_study=True)
    assert one.sop_class_uids == frozenset()


def test_fresh_named_series_are_one_errand_each() -> None:
    a, b = rows("5", E, E), rows("6", E)
    assert shape(errands(plan(a, b), [*a, *b], whole_study=False)) == [("5", None), ("6", None)]


def test_a_second_attempt_asks_for_what_is_missing_by_name_and_for_untouched_series_as_a_whole() -> None:
    a, b, c = rows("5", S, E, V), rows("6", E, E), rows("7", V, S)
    assert shape(errands(plan(a, b, c), [*a, *b, *c], whole_study=True)) == [("5", ("5.2",)), ("6", None)]


def test_nothing_is_missing() -> None:
    a = rows("5", S, V)
    assert errands(plan(a), a, whole_study=True) == []


def test_what_the_source_no_longer_lists_is_still_asked_for() -> None:
    a, gone = rows("5", S), rows("9", E)
    assert shape(errands(plan(a), [*a, *gone], whole_study=True)) == [("9", None)]


def test_unlisted_instances_have_no_name_so_the_whole_is_asked_for() -> None:
    a = rows("5", S, S)
    assert shape(errands(plan(a, announced=3), a, whole_study=True)) == [(None, None)]
    assert shape(errands(plan(a, series_announced=3), a, whole_study=True)) == [("5", None)]


def test_all_is_proven_and_the_source_had_spoken_of_more_so_all_is_asked_for_again() -> None:
    a, b = rows("5", V, V), rows("6", V)
    assert shape(errands(plan(a, b), [*a, *b], whole_study=True)) == [(None, None)]
    assert shape(errands(plan(a, b), [*a, *b], whole_study=False)) == [("5", None), ("6", None)]


def test_a_study_of_many_classes_is_fetched_by_series() -> None:
    series = [rows(str(number), E, E, sop_class=f"1.2.{number}") for number in range(5)]
    wanted = errands(plan(*series), [row for one in series for row in one], whole_study=True)
    assert shape(wanted) == [(str(number), None) for number in range(5)]
    assert [one.sop_class_uids for one in wanted] == [{f"1.2.{number}"} for number in range(5)]
    assert shape(errands(plan(*series[:4]), [row for one in series[:4] for row in one], whole_study=True)) == [
        (None, None)
    ]


def test_a_study_of_many_classes_with_unlisted_instances_is_asked_for_as_a_whole_too() -> None:
    series = [rows(str(number), E, sop_class=f"1.2.{number}") for number in range(5)]
    wanted = errands(plan(*series, announced=6), [row for one in series for row in one], whole_study=True)
    assert shape(wanted) == [*((str(number), None) for number in range(5)), (None, None)]


def test_a_series_of_many_classes_is_fetched_by_names_grouped_by_class() -> None:
    one = [row.model_copy(update={"sop_class_uid": f"1.2.{at % 6}"}) for at, row in enumerate(rows("5", *[E] * 12))]
    wanted = errands(plan(one), one, whole_study=True)
    assert all(len(each.sop_class_uids) <= 4 for each in wanted)
    asked = [uid for each in wanted for uid in each.sop_instance_uids or ()]
    assert sorted(asked) == sorted(row.sop_instance_uid for row in one)


def test_names_are_asked_for_in_portions_that_fit_an_element() -> None:
    many = rows("5", V, *[E] * 600)
    wanted = refetch(plan(many), many[1:])
    asked = [uid for one in wanted for uid in one.sop_instance_uids or ()]
    assert asked == [row.sop_instance_uid for row in many[1:]]
    assert all(len("\\".join(one.sop_instance_uids or ())) < 2**16 for one in wanted)
