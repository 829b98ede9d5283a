"""Does the destination have what it acknowledged? Asked by a query at IMAGE level, series by series.

Called by the nodes of DIMSE peers and DICOMweb servers. Many PACSs index later than they acknowledge, so
what is missing is asked for again a few times, with growing waits; what is still missing then is not proven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from adit.dicom.node import Answer, Level, Proof, Query, Stored
from adit.model.outcome import Fault, FaultCode

WAITS: Final = (0.2, 0.6)
"""Seconds before each repetition; the transfer asks again later than that."""


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
) -> Iterator[Proof]:
    """One proof for each of `stored`, each as soon as it is known."""
    missing: dict[str, dict[str, Stored]] = defaultdict(dict)
    for each in stored:
        missing[each.series_instance_uid][each.sop_instance_uid] = each
    for wait in (0.0, *waits):
        if not missing:
            return
        pause(wait)
        for series in list(missing):
            expected = missing[series]
            keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series}
            for answer in find(Query(Level.IMAGE, keys)):
                uid = str(answer.get("SOPInstanceUID"))
                if expected.pop(uid, None) is not None:
                    yield Proof(uid, present=True)
            if not expected:
                del missing[series]
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
