"""Which instances a task is about: asked from the source at study, series and image level before anything is fetched.

Called once an attempt by `attempt`; the answer goes into the ledger as *expected*.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from typing import Final

from adit.dicom.node import Answer, Level, Node, Query
from adit.model.assignment import Assignment
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import WARNINGS, Fault, FaultCode, TransferFault

_UID_LENGTH: Final = 64  # PS3.5 9.1
_MOST: Final = 200_000  # answers to one query; the largest series that exist have a tenth
_OF_STUDY: Final = ("PatientID", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "StudyDate", "StudyTime")


@dataclass(frozen=True, slots=True)
class PlannedSeries:
    """A series as the source lists it; `announced` is its NumberOfSeriesRelatedInstances where given."""

    series_instance_uid: str
    instances: tuple[InstanceRecord, ...]
    announced: int | None

    @property
    def understated(self) -> bool:
        """Whether the source announces more than it lists."""
        return self.announced is not None and self.announced > len(self.instances)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the source has of a task. `patient_id` is the one under which the source keeps the study."""

    study_instance_uid: str
    patient_id: str | None
    series: tuple[PlannedSeries, ...]
    announced: int | None  # NumberOfStudyRelatedInstances, for a whole study, where given
    warnings: tuple[Fault, ...] = ()
    conflicts: tuple[Fault, ...] = ()  # each names an instance that is listed in two series
    # of the whole study, whatever series are selected:
    modalities: frozenset[str] = frozenset()
    study_date: str | None = None
    study_time: str | None = None

    @property
    def instances(self) -> Iterable[InstanceRecord]:
        return (instance for series in self.series for instance in series.instances)

    def empty_series(self, known: Collection[str], source: str, *, asked_for: bool) -> list[Fault]:
        """What is to be said of series that are not `known` by an instance; of a whole study's only where the source
        does not itself say that they are empty."""
        return [
            _empty(one.series_instance_uid, source, asked_for=asked_for)
            for one in self.series
            if one.series_instance_uid not in known and (asked_for or one.announced != 0)
        ]

    @property
    def least(self) -> int:
        """How many instances the source has by its own highest word, listed or only announced."""
        by_series = sum(max(series.announced or 0, len(series.instances)) for series in self.series)
        return max(self.announced or 0, by_series)

    @property
    def announced_by_series(self) -> Mapping[str, int]:
        return {one.series_instance_uid: one.announced for one in self.series if one.announced is not None}


def make_plan(source: Node, assignment: Assignment) -> Plan:
    """Asks the source which instances the assignment selects.

    Raises TransferFault: STUDY_NOT_FOUND, STUDY_AMBIGUOUS, SERIES_NOT_FOUND, QUERY_FAILED for an answer
    with a UID that is none, or what the node raises when a query fails or leaves out what it may not read.
    """
    study, warnings = _find_study(source, assignment)
    warnings += source.doubts()
    patient_id = _text(study, "PatientID") or None
    listed = _find_series(source, assignment, patient_id)
    chosen = _chosen(source, assignment, listed)
    series, conflicts = _once(
        source, [_find_instances(source, assignment.study_instance_uid, patient_id, answer) for answer in chosen]
    )
    return Plan(
        study_instance_uid=assignment.study_instance_uid,
        patient_id=patient_id,
        series=series,
        announced=_number(study, "NumberOfStudyRelatedInstances") if assignment.series_instance_uids is None else None,
        warnings=warnings,
        conflicts=conflicts,
        modalities=_texts(study, "ModalitiesInStudy")
        or frozenset().union(*(_texts(one, "Modality") for one in listed)),
        study_date=_text(study, "StudyDate") or None,
        study_time=_text(study, "StudyTime") or None,
    )


def _find_study(source: Node, assignment: Assignment) -> tuple[Answer, tuple[Fault, ...]]:
    """PatientID and StudyInstanceUID; else the UID alone with a warning; exactly one study, or a fault."""
    uid = {"StudyInstanceUID": assignment.study_instance_uid}
    if assignment.patient_id is not None:
        found = _studies(source, {"PatientID": assignment.patient_id, **uid})
        if found:
            return _the_one(source, found), ()
    found = _studies(source, uid)
    if not found:
        raise TransferFault(
            Fault(
                code=FaultCode.STUDY_NOT_FOUND,
                message=f"The source has no study {assignment.study_instance_uid}.",
                cure="Check the StudyInstanceUID, and that the source shows this study to our AE title.",
                node=source.name,
            )
        )
    study = _the_one(source, found)
    if assignment.patient_id is None:
        return study, ()
    mismatch = Fault(
        code=FaultCode.PATIENT_ID_MISMATCH,
        message=f"The source keeps study {assignment.study_instance_uid} under another PatientID than the one given.",
        cure="Check that the right study was named; it was transferred as the source has it.",
        node=source.name,
    )
    return study, (mismatch,)


def _studies(source: Node, keys: dict[str, str]) -> list[Answer]:
    """The different patients' studies; a source that answers the same one twice has it once."""
    returning = tuple(key for key in _OF_STUDY if key not in keys)
    answers = list(_asked(source, Query(Level.STUDY, keys, returning)))
    for doubt in source.doubts():
        if doubt.code not in WARNINGS:
            raise TransferFault(doubt)
    return list({_text(answer, "PatientID"): answer for answer in answers}.values())


def _the_one(source: Node, found: list[Answer]) -> Answer:
    if len(found) == 1:
        return found[0]
    raise TransferFault(
        Fault(
            code=FaultCode.STUDY_AMBIGUOUS,
            message=f"The source has the study under {len(found)} different PatientIDs.",
            cure="Give the PatientID of the one that is meant, or have the source's records merged.",
            node=source.name,
        )
    )


def _find_series(source: Node, assignment: Assignment, patient_id: str | None) -> list[Answer]:
    """Each series once. The PatientID is the source's own: the one asked for may be outdated."""
    keys = _keys(assignment.study_instance_uid, patient_id)
    returning = ("SeriesInstanceUID", "NumberOfSeriesRelatedInstances", "Modality")
    answers = _asked(source, Query(Level.SERIES, keys, returning))
    return list({uid: answer for answer in answers if (uid := _uid(answer, "SeriesInstanceUID", source))}.values())


def _chosen(source: Node, assignment: Assignment, listed: list[Answer]) -> list[Answer]:
    """All series, or the named ones, in that order. Raises SERIES_NOT_FOUND."""
    wanted = assignment.series_instance_uids
    if wanted is None:
        return listed
    found = {_text(answer, "SeriesInstanceUID"): answer for answer in listed}
    missing = [uid for uid in wanted if uid not in found]
    if missing:
        raise TransferFault(
            Fault(
                code=FaultCode.SERIES_NOT_FOUND,
                message=f"The source's study has no series {', '.join(missing[:5])}"
                + (f" and {len(missing) - 5} more." if len(missing) > 5 else "."),
                cure="Check seriesInstanceUIDs, or leave them out to transfer the whole study.",
                node=source.name,
            )
        )
    return [found[uid] for uid in dict.fromkeys(wanted)]


def _find_instances(source: Node, study_uid: str, patient_id: str | None, series: Answer) -> PlannedSeries:
    series_uid = _text(series, "SeriesInstanceUID")
    keys = {**_keys(study_uid, patient_id), "SeriesInstanceUID": series_uid}
    answers = _asked(source, Query(Level.IMAGE, keys, ("SOPInstanceUID", "SOPClassUID")))
    classes = {
        uid: _uid(answer, "SOPClassUID", source)
        for answer in answers
        if (uid := _uid(answer, "SOPInstanceUID", source))
    }
    return PlannedSeries(
        series_instance_uid=series_uid,
        instances=tuple(_expected(uid, series_uid, sop_class or None) for uid, sop_class in classes.items()),
        announced=_number(series, "NumberOfSeriesRelatedInstances"),
    )


def _asked(source: Node, query: Query) -> Iterator[Answer]:
    """The answers, as long as they end. Raises QUERY_FAILED where they don't: there are servers that make some up."""
    for number, answer in enumerate(source.find(query)):
        if number >= _MOST:
            raise TransferFault(
                Fault(
                    code=FaultCode.QUERY_FAILED,
                    message=f"The source answers a query at {query.level} level with more than {_MOST} matches.",
                    cure="Look at the source: it may answer without end.",
                    node=source.name,
                )
            )
        yield answer


def _once(source: Node, series: Sequence[PlannedSeries]) -> tuple[tuple[PlannedSeries, ...], tuple[Fault, ...]]:
    """An instance that the source lists in two series belongs to neither: it gets a fault, the others go on."""
    home: dict[str, str] = {}
    torn: dict[str, Fault] = {}
    for one in series:
        for instance in one.instances:
            uid = instance.sop_instance_uid
            if home.setdefault(uid, one.series_instance_uid) != one.series_instance_uid:
                torn[uid] = conflict(uid, source.name)

    def at_home(one: PlannedSeries) -> tuple[InstanceRecord, ...]:
        return tuple(row for row in one.instances if home[row.sop_instance_uid] == one.series_instance_uid)

    return tuple(replace(one, instances=at_home(one)) for one in series), tuple(torn.values())


def conflict(sop_instance_uid: str, source: str) -> Fault:
    """Two different things under one SOP Instance UID."""
    return Fault(
        code=FaultCode.INSTANCE_CONFLICT,
        message="The source gives this SOP Instance UID two meanings: other content, or another series.",
        cure="Have the source's records repaired, then make a new job with selection.failedOf.",
        node=source,
        sop_instance_uid=sop_instance_uid,
    )


def _empty(series_instance_uid: str, source: str, *, asked_for: bool) -> Fault:
    return Fault(
        code=FaultCode.INCOMPLETE if asked_for else FaultCode.FETCHED_WITH_WARNING,
        message=f"The source lists series {series_instance_uid}, but neither shows nor sends an instance of it.",
        cure="See whether the source hides its instances from our AE title, or has lost them.",
        node=source,
    )


def _expected(uid: str, series_uid: str, sop_class: str | None) -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=uid, series_instance_uid=series_uid, sop_class_uid=sop_class, state=InstanceState.EXPECTED
    )


def _keys(study_uid: str, patient_id: str | None) -> dict[str, str]:
    keys = {"StudyInstanceUID": study_uid}
    return keys if patient_id is None else {"PatientID": patient_id, **keys}


def _uid(answer: Answer, keyword: str, source: Node) -> str:
    """Empty where there is none. What no ledger and no query could hold is a fault; odd characters are not."""
    uid = _text(answer, keyword).strip("\0 ")
    if len(uid) <= _UID_LENGTH and uid.isprintable() and not isinstance(answer.get(keyword), MutableSequence):
        return uid
    raise TransferFault(
        Fault(
            code=FaultCode.QUERY_FAILED,
            message=f"The source answered a query with a {keyword} that is none: {uid[:_UID_LENGTH]!r}.",
            cure="Look at the source: a UID has one value of at most 64 digits and dots. Have its records repaired.",
            node=source.name,
        )
    )


def _text(answer: Answer, keyword: str) -> str:
    value = answer.get(keyword)
    return "" if value is None else str(value).strip()


def _texts(answer: Answer, keyword: str) -> frozenset[str]:
    """The values of an element that may be absent, empty, single or several."""
    value = answer.get(keyword)
    several = [value] if value is None or isinstance(value, str) else list(value)
    return frozenset(text for one in several if one is not None and (text := str(one).strip()))


def _number(answer: Answer, keyword: str) -> int | None:
    """An IS that a source may leave out, leave empty or fill with anything."""
    try:
        return int(_text(answer, keyword))
    except ValueError:
        return None
