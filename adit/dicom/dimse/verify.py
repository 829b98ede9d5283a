"""Does the destination have what it acknowledged? Asked by a query at IMAGE level, series by series.

Called by the nodes of DIMSE peers and DICOMweb servers. Many PACSs index later than they acknowledge, so
what is missing is asked for again a few times, with growing waits; what is still missing then is not proven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from adit.dicom.node import Answer, Level, Proof, Query, Stored
from adit.model.outcome import Fault, FaultCode, TransferFault

WAITS: Final = (0.2, 0.6)
"""Seconds before each repetition; the transfer asks again later than that."""
_NAMES_AT_ONCE: Final = 100  # an identifier of at most 6.5 KiB
_FEW_AT_ONCE: Final = 10  # of a PACS that said that there are too many


class Describer(Protocol):
    """Words a fault of the destination."""

    def describe(self, code: FaultCode, message: str, cure: str, *, instance: str | None = None) -> Fault: ...


def verify(
    peer: Describer,
    find: Callable[[Query], Iterable[Answer]],
    pause: Callable[[float], None],
    waits: Sequence[float],
    study_instance_uid: str,
    stored: Sequence[Stored],
    *,
    lists: bool,
) -> Iterator[Proof]:
    """One proof for each of `stored`, each as soon as it is known.

    Some PACSs answer so many matches and no more, with or without a word. So what a series' answers lack is asked for
    by name, too, where a query may hold `lists` and the PACS does not refuse it.
    """
    missing: dict[str, dict[str, Stored]] = defaultdict(dict)
    for each in stored:
        missing[each.series_instance_uid][each.sop_instance_uid] = each
    in_part: set[str] = set()  # series of which something was answered
    whole: set[str] = set()  # series of which the PACS answers no names
    too_big: set[str] = set()  # series that have more than the PACS answers at once
    too_many: dict[str, TransferFault] = {}  # by series, what it said so with when it was asked last
    for wait in (0.0, *waits):
        if not missing:
            return
        pause(wait)
        for series in list(missing):
            expected = missing[series]
            keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series}
            names: Mapping[str, str] = {}
            try:
                for names in _asked(expected, by_name=series in in_part - whole, too_big=series in too_big):
                    for answer in find(Query(Level.IMAGE, {**keys, **names})):
                        if lists:
                            in_part.add(series)
                        uid = str(answer.get("SOPInstanceUID"))
                        if expected.pop(uid, None) is not None:
                            yield Proof(uid, present=True)
            except TransferFault as error:
                if names and error.fault.code is FaultCode.QUERY_FAILED:
                    whole.add(series)
                elif lists and error.fault.code is FaultCode.OUT_OF_RESOURCES:
                    too_many[series] = error
                    too_big.add(series)
                    in_part.add(series)
                else:
                    raise
            else:
                too_many.pop(series, None)
            if not expected:
                del missing[series]
    for series in too_many.keys() & missing.keys():
        raise too_many[series]
    for expected in missing.values():
        for uid in expected:
            yield Proof(
                uid,
                present=False,
                fault=peer.describe(
                    FaultCode.NOT_PROVEN,
                    "The node acknowledged the instance, but does not list it when asked",
                    "It is asked for again later; if it stays missing, look for it in the node's log and quarantine.",
                    instance=uid,
                ),
            )


def _asked(expected: Mapping[str, Stored], *, by_name: bool, too_big: bool) -> Iterator[Mapping[str, str]]:
    """For the whole series, then for what that lacked: not all that index late understand a list of UIDs."""
    if not (by_name and too_big):
        yield {}
    uids = list(expected) if by_name else []
    at_once = _FEW_AT_ONCE if too_big else _NAMES_AT_ONCE
    for start in range(0, len(uids), at_once):
        yield {"SOPInstanceUID": "\\".join(uids[start : start + at_once])}
