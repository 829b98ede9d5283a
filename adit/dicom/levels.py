"""The levels of a query, and what they ask of its keys and its answers. Used by every `find` that asks a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, TypeVar

from adit.dicom.matching import keep
from adit.dicom.node import Answer, Level, Query
from adit.model.outcome import FaultCode, TransferFault

UNIQUE_KEY: Final = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}
ABOVE: Final = {
    Level.PATIENT: (),
    Level.STUDY: (),
    Level.SERIES: ("StudyInstanceUID",),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID"),
}
_Answer = TypeVar("_Answer", bound=Answer)
_MOST: Final = 200_000  # answers about one study; the largest series that exist have a tenth


class Faulty(Protocol):
    """Words a fault of the peer."""

    def fault(self, code: FaultCode, message: str, cure: str) -> TransferFault: ...


def is_single(value: str | None) -> bool:
    return bool(value) and not set(value or "") & set("*?\\")


def lacking(query: Query) -> str | None:
    """The keyword of a level above of which the query needs one value and does not name one; None if it has all."""
    return next((keyword for keyword in ABOVE[query.level] if not is_single(query.keys.get(keyword))), None)


def distinct(
    answers: Iterable[_Answer], query: Query, peer: Faulty, nameless: Callable[[str], TransferFault]
) -> Iterator[_Answer]:
    """The answers that match, each once, at most as many as the query allows.

    Raises what `nameless` makes of the unique key that an answer lacks, and QUERY_FAILED where there is no end to what
    the peer says of one study, whether it matches or not.
    """
    unique = UNIQUE_KEY[query.level]
    bounded = is_single(query.keys.get("StudyInstanceUID"))
    seen: set[tuple[str, str]] = set()
    for number, answer in enumerate(answers):
        if bounded and number >= _MOST:
            raise peer.fault(
                FaultCode.QUERY_FAILED,
                f"The node answers a query about one study with more than {_MOST} matches",
                "Look at the node: it may answer without end.",
            )
        if not keep(answer, query):
            continue
        own = str(answer.get(unique) or "")
        if not own and query.level is not Level.PATIENT:
            raise nameless(unique)
        # One study UID under two patients is two answers: the transfer must be able to see it.
        key = own, str(answer.get("PatientID") or "") if query.level is Level.STUDY else ""
        if key in seen:
            continue
        seen.add(key)
        yield answer
        if query.limit is not None and len(seen) >= query.limit:
            return
