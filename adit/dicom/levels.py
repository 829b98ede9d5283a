"""The levels of a query, and what they ask of its keys and its answers. Used by every `find` that asks a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from adit.dicom.matching import keep
from adit.dicom.node import Answer, Level, Query
from adit.model.outcome import TransferFault

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


def is_single(value: str | None) -> bool:
    return bool(value) and not set(value or "") & set("*?\\")


def lacking(query: Query) -> str | None:
    """The keyword of a level above of which the query needs one value and does not name one; None if it has all."""
    return next((keyword for keyword in ABOVE[query.level] if not is_single(query.keys.get(keyword))), None)


def distinct(answers: Iterable[_Answer], query: Query, nameless: Callable[[str], TransferFault]) -> Iterator[_Answer]:
    """The answers that match, each once, at most as many as the query allows.

    Raises what `nameless` makes of the unique key that an answer lacks.
    """
    unique = UNIQUE_KEY[query.level]
    seen: set[tuple[str, str]] = set()
    for answer in answers:
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
