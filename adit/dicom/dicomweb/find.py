"""QIDO-RS (PS3.18 10.6): one query in as many requests as it takes; its answers filtered, distinct, and all of them.

Called by `node`. The server's own filtering is never trusted, and a query that was answered in part never looks like
a short answer. Servers cut answers in different ways (an own limit below ours, status 206, a Warning header, or
silently): so pages are asked for until one brings nothing new, and one that is announced and never comes is a fault.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from adit.dicom import dictionary
from adit.dicom.dicomweb import json_answer
from adit.dicom.dicomweb.client import Answer, Client, TooLongError
from adit.dicom.dicomweb.status import refusal
from adit.dicom.levels import ABOVE, UNIQUE_KEY, distinct, is_single, lacking
from adit.dicom.node import Level, Query
from adit.model.dicom_web import WebService
from adit.model.outcome import FaultCode, TransferFault

ACCEPT: Final = "application/dicom+json"
_PAGE: Final = 1000
_SMALL_PAGE: Final = 100
"""For servers that refuse a limit of a thousand."""
_SMALLEST_PAGE: Final = 10
"""For servers that tell everything of each instance, whatever they are asked for."""
_MAX_BODY: Final = 16 * 2**20
_TOO_LONG: Final = 0
"""In place of a status: the page is more than can be held."""
_LIMIT_REFUSED: Final = frozenset({400, 413})
_IDENTITY: Final = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_NOT_SENT: Final = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC"})
_OF_THE_PATIENT: Final = "0010"
"""The group of the attributes that say who it is."""
_PLAIN: Final = "*?,:/@!$'()"
"""May stand in a query as they are (RFC 3986 3.4), and must: Orthanc's plugin 1.7 decodes nothing."""
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Page:
    answers: list[Values]
    more: bool  # whether the server says that there are more


def require(client: Client, query: Query) -> None:
    """Raises SERVICE_NOT_OFFERED when the node, or the query's keys, do not allow the query."""
    server = client.server
    if WebService.QIDO not in server.web.services:
        raise server.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            "The node offers no QIDO-RS",
            "Add QIDO-RS to the node's services if it does.",
        )
    if keyword := lacking(query):
        raise server.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"A query at {query.level} level needs one {keyword}",
            f"Give {keyword} without wildcards.",
        )


def find(client: Client, query: Query) -> Iterator[Values]:
    """Answers one by one. Patients are found through their studies: QIDO-RS has no level for them."""

    def nameless(key: str) -> TransferFault:
        return client.server.fault(
            FaultCode.QUERY_FAILED,
            f"An answer at {query.level} level has no {key}",
            "The server breaks PS3.18 10.6.3; report it to its vendor.",
        )

    answers = (answer for keys in _alternatives(query.keys) for answer in _pages(client, query, keys))
    yield from distinct(answers, query, client.server, nameless)


def _alternatives(keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """One query for each value of a list: servers disagree on how several are written, or take them for one."""
    wanted = {keyword: value for keyword, value in keys.items() if keyword not in _NOT_SENT}
    lists = ([value for value in text.split("\\") if value] or [""] for text in wanted.values())
    for chosen in itertools.product(*lists):
        yield dict(zip(wanted, chosen, strict=True))


def _pages(client: Client, query: Query, keys: Mapping[str, str]) -> Iterator[Values]:
    """All that the server has to say, whatever it calls a page; what it says twice comes once."""
    size = _PAGE if query.limit is None else min(_PAGE, query.limit)
    offset, promised, known = 0, False, set[tuple[str, ...]]()
    while True:
        page = _page(client, query, keys, offset, size)
        if page == _TOO_LONG:
            size = max(_SMALLEST_PAGE, size // 10)
            continue
        if isinstance(page, int):
            if offset or size <= _SMALL_PAGE:
                raise TransferFault(refusal(client.server, page, "the query", FaultCode.QUERY_FAILED))
            size = _SMALL_PAGE
            continue
        fresh = {identity: each for each in page.answers if (identity := _identity(each)) not in known}
        known.update(fresh)
        yield from fresh.values()
        if not fresh:
            if promised or page.more or len(page.answers) == size:
                raise _truncated(client)
            return
        offset, promised = offset + len(page.answers), page.more


def _page(client: Client, query: Query, keys: Mapping[str, str], offset: int, size: int) -> _Page | int:
    """The status instead, when the server refuses so many at once, or the query itself; _TOO_LONG of too much."""
    path = client.server.path(WebService.QIDO, *_resource(query))
    wanted = {_tag(keyword): keyword for keyword in (*query.returning, *keys, *_IDENTITY)}
    client.query()
    with client.exchange("GET", f"{path}?{_parameters(query, keys, offset, size)}", accept=ACCEPT) as answer:
        if answer.status in _LIMIT_REFUSED:
            return answer.status
        if answer.status in (200, 206):
            try:
                answers = _answers(client, answer, wanted)
            except (TooLongError, json_answer.TooMuchError):
                if size > _SMALLEST_PAGE:
                    return _TOO_LONG
                raise _too_long(client) from None
            return _Page(answers, answer.status == 206 or _says_more(answer))
        if answer.status == 204:
            return _Page([], more=False)
        if answer.status != 404 or offset or query.level not in (Level.SERIES, Level.IMAGE):
            raise TransferFault(refusal(client.server, answer.status, "the query", FaultCode.QUERY_FAILED))
    # Some servers say 404 below a study or series that they don't have.
    if _is_there(client, query):
        raise TransferFault(refusal(client.server, 404, "the query", FaultCode.QUERY_FAILED))
    return _Page([], more=False)


def _is_there(client: Client, query: Query) -> bool:
    """Whether the server lists the study, or series, below which it found nothing."""
    above = Level.STUDY if query.level is Level.SERIES else Level.SERIES
    keys = {keyword: query.keys[keyword] for keyword in ABOVE[query.level]}
    return next(find(client, Query(above, keys, limit=1)), None) is not None


def _resource(query: Query) -> tuple[str, ...]:
    study, series = query.keys.get("StudyInstanceUID", ""), query.keys.get("SeriesInstanceUID", "")
    match query.level:
        case Level.SERIES:
            return ("studies", study, "series")
        case Level.IMAGE:
            return ("studies", study, "series", series, "instances")
        case _:
            return ("studies",)


def _parameters(query: Query, keys: Mapping[str, str], offset: int, size: int) -> str:
    """Attributes by tag, which every server understands. Raises ValueError for what is no DICOM keyword.

    What names the patient is left out where the study is named: a URL ends in logs on its way. The answers are
    matched by it all the same.
    """
    in_path = ABOVE[query.level]
    named = is_single(keys.get("StudyInstanceUID"))
    matching = {
        key: value
        for key, value in keys.items()
        if key not in in_path and value.strip("* ") and not (named and _tag(key).startswith(_OF_THE_PATIENT))
    }
    returning = (*query.returning, *keys, UNIQUE_KEY[query.level], "PatientID")
    wanted = dict.fromkeys(key for key in returning if key not in matching and key not in in_path)
    pairs = [(_tag(key), value) for key, value in matching.items()]
    pairs += [("includefield", _tag(key)) for key in wanted]
    pairs += [("limit", str(size))] + ([("offset", str(offset))] if offset else [])
    return "&".join(f"{name}={quote(value, safe=_PLAIN)}" for name, value in pairs)


def _tag(keyword: str) -> str:
    entry = dictionary.entry(keyword)
    if entry is None:
        raise ValueError(f"{keyword} is not a DICOM keyword")
    return f"{entry[0]:08X}"


def _answers(client: Client, answer: Answer, wanted: Mapping[str, str]) -> list[Values]:
    """Raises TransferFault, TooLongError, TooMuchError."""
    content = answer.content(_MAX_BODY)
    if not content and not answer.tells_its_end:
        raise client.server.fault(
            FaultCode.ASSOCIATION_ABORTED,
            f"The connection to {client.server.address} ended before the answer to the query had begun",
            "If it happens each time, look into the node's log and the network between.",
        )
    try:
        return [json_answer.values(each, wanted) for each in json_answer.documents(content)]
    except json_answer.TooMuchError:
        raise
    except json_answer.MalformedError as error:
        raise client.server.fault(
            FaultCode.QUERY_FAILED,
            f"An answer to the query cannot be read, because {error}",
            "See that the node's url leads to a DICOMweb server and to no page for people.",
        ) from error


def _too_long(client: Client) -> TransferFault:
    return client.server.fault(
        FaultCode.QUERY_FAILED,
        f"An answer to the query is longer than {_MAX_BODY // 2**20} MiB, or has more elements than can be held",
        "Ask for less at once: the server does not keep to the limit that it is given.",
    )


def _says_more(answer: Answer) -> bool:
    """Whether a Warning tells of results that were left out (PS3.18 8.3.4.4). QIDO-RS has 299 for that, and for fuzzy
    matching, which we never ask for."""
    return answer.header("Warning").lstrip().startswith("299")


def _identity(answer: Values) -> tuple[str, ...]:
    return tuple(str(answer.get(keyword) or "") for keyword in _IDENTITY)


def _truncated(client: Client) -> TransferFault:
    return client.server.fault(
        FaultCode.QUERY_FAILED,
        "The node has more answers than it gives, and does not go on where it stopped",
        "Ask for less at once, or have the server's limit on results raised.",
    )
