"""What to ask the source for, given what is expected and what the destination has. Pure; called by `attempt`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adit.dicom.node import Wanted
from adit.model.instance import InstanceRecord
from adit.transfer.plan import Plan, PlannedSeries
from adit.transfer.roster import AT_DESTINATION

_UIDS_AT_ONCE: Final = 250
"""A list of UIDs must fit an explicit VR's 16-bit length (PS3.5 7.1.2): 1,000 of 64 characters would not."""


def errands(plan: Plan, rows: Sequence[InstanceRecord], *, whole_study: bool) -> list[Wanted]:
    """The main fetch of an attempt: the study in one go when nothing is there yet, else by series or instance.

    A series whose source announces more than it lists is asked for as a whole: its unlisted instances
    have no name to ask for.
    """
    by_series = _by_series(rows)
    untouched = not any(row.state in AT_DESTINATION for row in rows)
    listed = sum(len(series.instances) for series in plan.series)
    unlisted_somewhere = plan.announced is not None and plan.announced > listed
    if whole_study and (untouched or (unlisted_somewhere and plan.least > len(rows))):
        return [_wanted(plan, sop_classes=_classes(rows))] if _missing(rows) or unlisted_somewhere else []
    wanted: list[Wanted] = []
    planned = {series.series_instance_uid: series for series in plan.series}
    for series_uid in dict.fromkeys([*planned, *by_series]):
        wanted += _of_series(plan, planned.get(series_uid), series_uid, by_series.get(series_uid, []))
    return wanted


def refetch(plan: Plan, unseen: Sequence[InstanceRecord]) -> list[Wanted]:
    """The second round of an attempt: by name what the first did not bring."""
    wanted: list[Wanted] = []
    for series_uid, rows in _by_series(unseen).items():
        wanted += _by_name(plan, series_uid, rows)
    return wanted


def _of_series(
    plan: Plan, planned: PlannedSeries | None, series_uid: str, rows: Sequence[InstanceRecord]
) -> list[Wanted]:
    missing = _missing(rows)
    understated = planned is not None and planned.understated and (planned.announced or 0) > len(rows)
    if understated or (missing and len(missing) == len(rows)):
        return [_wanted(plan, series_uid=series_uid, sop_classes=_classes(rows))]
    return _by_name(plan, series_uid, missing)


def _by_name(plan: Plan, series_uid: str, rows: Sequence[InstanceRecord]) -> list[Wanted]:
    return [
        _wanted(
            plan,
            series_uid=series_uid,
            sop_instances=tuple(row.sop_instance_uid for row in rows[start : start + _UIDS_AT_ONCE]),
            sop_classes=_classes(rows[start : start + _UIDS_AT_ONCE]),
        )
        for start in range(0, len(rows), _UIDS_AT_ONCE)
    ]


def _wanted(
    plan: Plan,
    *,
    series_uid: str | None = None,
    sop_instances: tuple[str, ...] | None = None,
    sop_classes: frozenset[str],
) -> Wanted:
    return Wanted(plan.study_instance_uid, plan.patient_id, series_uid, sop_instances, sop_classes)


def _missing(rows: Iterable[InstanceRecord]) -> list[InstanceRecord]:
    return [row for row in rows if row.state not in AT_DESTINATION and row.fault_code is None]


def _classes(rows: Iterable[InstanceRecord]) -> frozenset[str]:
    """Empty, which means unknown, as soon as one of them is unknown: the node then offers all it can."""
    classes = {row.sop_class_uid for row in rows}
    return frozenset() if None in classes else frozenset(uid for uid in classes if uid)


def _by_series(rows: Iterable[InstanceRecord]) -> Mapping[str, list[InstanceRecord]]:
    series: dict[str, list[InstanceRecord]] = {}
    for row in rows:
        series.setdefault(row.series_instance_uid, []).append(row)
    return series
