"""What to ask the source for, given what is expected and what the destination has. Pure; called by `attempt`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adit.dicom.node import CLASSES_AT_ONCE, Wanted
from adit.model.instance import InstanceRecord, InstanceState
from adit.transfer.plan import Plan, PlannedSeries
from adit.transfer.roster import DONE_WITH

_PROVEN: Final = (InstanceState.VERIFIED, InstanceState.LEFT_OUT)
_UIDS_AT_ONCE: Final = 250
"""A list of UIDs must fit an explicit VR's 16-bit length (PS3.5 7.1.2): 1,000 of 64 characters would not."""


def errands(plan: Plan, rows: Sequence[InstanceRecord], *, whole_study: bool, heard: int = 0) -> list[Wanted]:
    """The main fetch of an attempt: the study in one go when nothing is there yet, else by series or instance.

    A series whose source announces more than it lists is asked for as a whole: its unlisted instances
    have no name to ask for; so is one without any instance. When all is proven already, the last attempt failed because
    the source had spoken of more: all of it is asked for again. So it is where `heard`, the most that earlier attempts
    heard the source speak of, or what came then, is more than is known: one of them may have broken off before all was
    sent. A study of many classes is fetched by series first, so that each class can be offered in each transfer syntax.
    """
    by_series = _by_series(rows)
    proven = bool(rows) and all(row.state in _PROVEN and row.fault_code is None for row in rows)
    afresh = proven or not any(row.state in DONE_WITH for row in rows)
    listed = sum(len(series.instances) for series in plan.series)
    doubtful = _doubtful(plan, rows, heard)
    unlisted_somewhere = doubtful or (plan.announced is not None and plan.announced > listed)
    study: list[Wanted] = []
    if whole_study and (afresh or doubtful or (unlisted_somewhere and plan.least > len(rows))):
        if _missing(rows) or unlisted_somewhere or proven:
            study = [_wanted(plan, rows)]
        if len(_classes(rows)) <= CLASSES_AT_ONCE:
            return study
    wanted: list[Wanted] = []
    planned = {series.series_instance_uid: series for series in plan.series}
    for series_uid in dict.fromkeys([*planned, *by_series]):
        again = proven or (doubtful and not whole_study)
        wanted += _of_series(plan, planned.get(series_uid), series_uid, by_series.get(series_uid, []), again)
    return [*wanted, *study] if unlisted_somewhere or proven else wanted


def _doubtful(plan: Plan, rows: Sequence[InstanceRecord], heard: int) -> bool:
    """Whether the source's list is known to be too short, and not known whether all the rest has come."""
    if heard:
        return heard > len(rows)
    listed = {instance.sop_instance_uid for instance in plan.instances}
    return any(row.sop_instance_uid not in listed and row.state in DONE_WITH for row in rows)


def refetch(plan: Plan, unseen: Sequence[InstanceRecord]) -> list[Wanted]:
    """The second round of an attempt: by name what the first did not bring."""
    wanted: list[Wanted] = []
    for series_uid, rows in _by_series(unseen).items():
        wanted += _by_name(plan, series_uid, rows)
    return wanted


def _of_series(
    plan: Plan, planned: PlannedSeries | None, series_uid: str, rows: Sequence[InstanceRecord], proven: bool
) -> list[Wanted]:
    missing = _missing(rows)
    classes = _classes(rows)
    understated = planned is not None and planned.understated and (planned.announced or 0) > len(rows)
    unseen = planned is not None and planned.announced is None and not rows
    whole = [_wanted(plan, rows, series_uid=series_uid)]
    if len(classes) > CLASSES_AT_ONCE:
        return _by_name(plan, series_uid, missing) + (whole if understated or proven else [])
    if understated or proven or unseen or (missing and len(missing) == len(rows)):
        return whole
    return _by_name(plan, series_uid, missing)


def _by_name(plan: Plan, series_uid: str, rows: Sequence[InstanceRecord]) -> list[Wanted]:
    """In portions of so many UIDs and so many classes as one fetch can take."""
    classes = sorted({row.sop_class_uid or "" for row in rows})
    groups = [classes[start : start + CLASSES_AT_ONCE] for start in range(0, len(classes), CLASSES_AT_ONCE)]
    wanted: list[Wanted] = []
    for group in groups:
        members = [row for row in rows if (row.sop_class_uid or "") in group]
        for start in range(0, len(members), _UIDS_AT_ONCE):
            portion = members[start : start + _UIDS_AT_ONCE]
            uids = tuple(row.sop_instance_uid for row in portion)
            wanted.append(_wanted(plan, portion, series_uid=series_uid, sop_instances=uids))
    return wanted


def _wanted(
    plan: Plan,
    rows: Sequence[InstanceRecord],
    *,
    series_uid: str | None = None,
    sop_instances: tuple[str, ...] | None = None,
) -> Wanted:
    expected = frozenset(row.sop_instance_uid for row in rows)
    return Wanted(plan.study_instance_uid, plan.patient_id, series_uid, sop_instances, _classes(rows), expected)


def _missing(rows: Iterable[InstanceRecord]) -> list[InstanceRecord]:
    return [row for row in rows if row.state not in DONE_WITH and row.fault_code is None]


def _classes(rows: Iterable[InstanceRecord]) -> frozenset[str]:
    """Empty, which means unknown, as soon as one of them is unknown: the node then offers all it can."""
    classes = {row.sop_class_uid for row in rows}
    return frozenset() if None in classes else frozenset(uid for uid in classes if uid)


def _by_series(rows: Iterable[InstanceRecord]) -> Mapping[str, list[InstanceRecord]]:
    series: dict[str, list[InstanceRecord]] = {}
    for row in rows:
        series.setdefault(row.series_instance_uid, []).append(row)
    return series
