"""What a DICOMweb server can do, asked by requests that change nothing. Called by `node` for `adit node probe`.

QIDO-RS by a search for one study; WADO-RS by the beginning of one instance that was found so, as it is kept; STOW-RS
by a message without any instance, which a server that takes instances answers without calling it unknown.
"""

from __future__ import annotations

from typing import Final

from adit.dicom.dicomweb import fetch, find
from adit.dicom.dicomweb.client import Client
from adit.dicom.dicomweb.multipart import boundary_of
from adit.dicom.dicomweb.status import refusal
from adit.dicom.dicomweb.upload import Upload
from adit.dicom.node import Level, Probe, Query
from adit.model.dicom_web import WebService
from adit.model.outcome import Fault, FaultCode, TransferFault

_UNKNOWN_STUDY: Final = "2.25.1"
_STOW_THERE: Final = frozenset({200, 202, 204, 400, 409, 411, 422})
_DENIED: Final = frozenset({401, 403})


def probe(client: Client) -> Probe:
    """Never raises a TransferFault: a fault is part of the answer."""
    detail: dict[str, str] = {}
    offered: list[str] = []
    try:
        found = _search(client, detail)
        if found is not None:
            offered.append(WebService.QIDO)
        if _retrieves(client, found, detail):
            offered.append(WebService.WADO)
        if _stores(client, detail):
            offered.append(WebService.STOW)
    except TransferFault as stopped:
        return Probe(reachable=False, fault=stopped.fault)
    fault = None if offered else _nothing_there(client)
    return Probe(reachable=True, services=tuple(offered), detail=detail, fault=fault)


def _nothing_there(client: Client) -> Fault:
    return client.server.describe(
        FaultCode.SERVICE_NOT_OFFERED,
        f"{client.server.address} answers, and offers none of DICOMweb's services below the node's url",
        "Check the path in the node's url, and its prefixes.",
    )


def _search(client: Client, detail: dict[str, str]) -> tuple[str, ...] | None:
    """Study, series and instance that a search found; fewer where there are none, None where there is no search."""
    path = client.server.path(WebService.QIDO, "studies")
    with client.exchange("GET", f"{path}?limit=1", accept=find.ACCEPT) as answer:
        if answer.status in _DENIED:
            raise TransferFault(refusal(client.server, answer.status, "the query", FaultCode.QUERY_FAILED))
        if answer.status not in (200, 204, 206):
            detail["QIDO-RS"] = f"HTTP {answer.status}"
            return None
    found: list[str] = []
    keys: dict[str, str] = {}
    for level, keyword in (
        (Level.STUDY, "StudyInstanceUID"),
        (Level.SERIES, "SeriesInstanceUID"),
        (Level.IMAGE, "SOPInstanceUID"),
    ):
        first = next(find.find(client, Query(level, dict(keys), limit=1)), None)
        if first is None:
            break
        found.append(keys.setdefault(keyword, str(first[keyword])))
    return tuple(found)


def _retrieves(client: Client, found: tuple[str, ...] | None, detail: dict[str, str]) -> bool:
    study, series, instance = found if found is not None and len(found) == 3 else (_UNKNOWN_STUDY, "", "")
    resource = ("studies", study, "series", series, "instances", instance) if instance else ("studies", study)
    with client.exchange("GET", client.server.path(WebService.WADO, *resource), accept=fetch.ACCEPT) as answer:
        may_be = found is not None or WebService.QIDO not in client.server.web.services
        if answer.status == 404 and not instance and may_be:
            detail["WADO-RS"] = "not shown: the node lists no instance to ask for"
            return True  # an unknown study is not found; a server without WADO-RS says the same
        as_wished = answer.status == 200 and boundary_of(answer.header("Content-Type")) is not None
        if not as_wished:
            detail["WADO-RS"] = f"HTTP {answer.status}"
        return as_wished


def _stores(client: Client, detail: dict[str, str]) -> bool:
    path = client.server.path(WebService.STOW, "studies")
    with client.exchange(
        "POST", path, accept=find.ACCEPT, body=lambda: Upload(client.server, [], client.meter)
    ) as answer:
        there = answer.status in _STOW_THERE
        if not there:
            detail["STOW-RS"] = f"HTTP {answer.status}"
        return there
