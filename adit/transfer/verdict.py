"""How an attempt ended: a pure function of its instances' rows and of the faults that were met. Called by `attempt`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from adit.model.assignment import Progress, Report
from adit.model.counted import counted
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.transfer.halt import FAULTS, Reason
from adit.transfer.roster import AT_DESTINATION

_AT_MOST: Final = 20

_PRECEDENCE: Final = (
    Outcome.CANCELLED,
    Outcome.DEADLINE,
    Outcome.BUG,
    Outcome.PERMANENT_CONFIGURATION_FAULT,
    # what a later attempt may mend comes before what it cannot: the mendable part is worth the retry
    Outcome.TRANSIENT_FAULT,
    Outcome.PARTIAL,
    Outcome.PERMANENT_DATA_FAULT,
    Outcome.EMPTY,
    Outcome.SUCCESS,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the verdict depends on."""

    source: str
    destination: str
    rows: Sequence[InstanceRecord] = ()
    announced: int = 0  # how many the source has by its own highest word
    announced_by_series: Mapping[str, int] = field(default_factory=dict)  # the same, where it says so
    provable: bool = True  # whether the destination can be asked what it holds
    reason: Reason | None = None  # why the attempt stopped early
    finished: bool = True  # it went all its way, to the last proof: else rows may be as an earlier attempt left them
    faults: Sequence[Fault] = ()  # of the attempt as a whole, still open at its end
    instance_faults: Sequence[Fault] = ()
    warnings: Sequence[Fault] = ()


def verdict(facts: Facts, progress: Progress) -> Report:
    """Success only when every instance that was announced is proven (or, where nothing can be proven, acknowledged).

    Rows and open faults decide: what was healed is not among `facts.faults` any more.
    """
    warnings = list(facts.warnings)
    if facts.finished and complete(facts):
        if not facts.provable:
            warnings.append(_not_provable(facts.destination))
        return Report(outcome=Outcome.SUCCESS, warnings=_distinct(warnings), progress=progress)
    faults = sorted(_open_faults(facts), key=_rank)
    if facts.reason is not None:
        decisive = FAULTS[facts.reason]
        outcome = Outcome.CANCELLED if facts.reason is Reason.INTERRUPTED else decisive.outcome
        faults = [decisive, *faults]
    else:
        outcome = faults[0].outcome
    return Report(outcome=outcome, faults=_distinct(faults), warnings=_distinct(warnings), progress=progress)


def complete(facts: Facts) -> bool:
    """Whether nothing that the source announced is missing at the destination, and no fault is open.

    What the profile leaves out is not missing there; a task of which nothing else is left has not succeeded.
    A fault may tell of instances that have no row: the source could not list or send them.
    """
    there = {InstanceState.VERIFIED} if facts.provable else AT_DESTINATION
    sent = _not_left_out(facts)
    return (
        not facts.faults
        and len(facts.rows) >= facts.announced
        and not short_series(facts.announced_by_series, facts.rows)
        and len(sent) > 0
        and all(row.state in there and row.fault_code is None for row in sent)
    )


def short_series(announced: Mapping[str, int], rows: Iterable[InstanceRecord]) -> dict[str, int]:
    """The series of which less is known than the source announced, with what is: more of one makes up for no other."""
    known = Counter(row.series_instance_uid for row in rows)
    return {series: known[series] for series, number in announced.items() if number > known[series]}


def _not_left_out(facts: Facts) -> list[InstanceRecord]:
    return [row for row in facts.rows if row.state is not InstanceState.LEFT_OUT]


def _open_faults(facts: Facts) -> list[Fault]:
    """At least one, unless the attempt was stopped early."""
    faults = [*facts.faults, *facts.instance_faults]
    if facts.reason is not None:
        return faults
    if _nothing_came(facts, faults):
        return [fault for fault in faults if fault.code is FaultCode.NOTHING_RECEIVED] or [_nothing(facts)]
    if not facts.faults and facts.announced > len(facts.rows):
        faults.append(_unlisted(facts.source, facts.announced, len(facts.rows)))
    elif not facts.faults:
        faults += [
            _unlisted(facts.source, facts.announced_by_series[series], known, series)
            for series, known in short_series(facts.announced_by_series, facts.rows).items()
        ]
    if not faults and facts.rows and not _not_left_out(facts):
        return [_nothing_to_send(len(facts.rows))]
    return faults or [
        _not_proven(facts.destination, sum(row.state is not InstanceState.VERIFIED for row in _not_left_out(facts)))
    ]


def _rank(fault: Fault) -> tuple[int, bool]:
    """What decides comes first; of what is missing, the instance that is missing before the count that told of it."""
    by_count = fault.code is FaultCode.INCOMPLETE and fault.sop_instance_uid is None
    return _PRECEDENCE.index(fault.outcome), by_count


def _nothing_came(facts: Facts, faults: Iterable[Fault]) -> bool:
    """Whether the source gave nothing at all, and no other reason is known than that it did not."""
    return all(row.state is InstanceState.EXPECTED for row in facts.rows) and all(
        fault.code in (FaultCode.INCOMPLETE, FaultCode.NOTHING_RECEIVED) for fault in faults
    )


def incomplete(source: str, sop_instance_uid: str) -> Fault:
    """An instance that the source listed and, asked twice, did not send."""
    return Fault(
        code=FaultCode.INCOMPLETE,
        message="The source lists this instance but did not send it.",
        cure="See the source's log for this instance; possibly no presentation context could be agreed for its "
        "SOP class and transfer syntax, or its file cannot be read.",
        node=source,
        sop_instance_uid=sop_instance_uid,
    )


def _nothing(facts: Facts) -> Fault:
    listed = max(facts.announced, len(facts.rows))
    return Fault(
        code=FaultCode.NOTHING_RECEIVED,
        message=f"The source announces {counted(listed, 'instance')} and sent none."
        if listed
        else "The source has the study but lists no instance in it.",
        cure="The source may be busy or the study may be offline in its archive: see its log, or try later.",
        node=facts.source,
    )


def _nothing_to_send(count: int) -> Fault:
    return Fault(
        code=FaultCode.NOTHING_TO_SEND,
        message=f"The profile leaves out all of the task ({counted(count, 'instance')}), so that nothing was sent.",
        cure="Leave the study out of the job, or change what the profile excludes.",
    )


def _unlisted(source: str, announced: int, known: int, series: str | None = None) -> Fault:
    of = "" if series is None else f" of series {series}"
    return Fault(
        code=FaultCode.INCOMPLETE,
        message=f"The source announces {counted(announced, 'instance')}{of} but shows and sends only {known}.",
        cure="See whether the source hides instances from our AE title, or whether its counts are outdated.",
        node=source,
    )


def _not_proven(destination: str, count: int) -> Fault:
    return Fault(
        code=FaultCode.NOT_PROVEN,
        message=f"{counted(count, 'instance')} {'is' if count == 1 else 'are'} not proven to have arrived.",
        cure="Nothing: the next attempt goes on from here.",
        node=destination,
    )


def _not_provable(destination: str) -> Fault:
    return Fault(
        code=FaultCode.ARRIVAL_NOT_PROVABLE,
        message="The destination acknowledged every instance but cannot be asked what it holds.",
        cure="Have its query service (StudyRootFind, QIDO-RS) enabled and named in the DicomNode's services.",
        node=destination,
    )


def _distinct(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(dict.fromkeys(faults))[:_AT_MOST]
