"""What a node was found to do: the services that it offered when it was probed, and how its roads did in transfers.

Kept in the ledger beside the DicomNode until that is edited; shown in its status. Attempts observe, the ledger learns
from their reports, and later attempts take what failed last. It orders the roads and forbids none: a finding may
be wrong or old, and a node that has been mended must not be left alone for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from adit.model.dicom_node import Service
from adit.model.dicom_web import WebService
from adit.model.outcome import FaultCode
from adit.model.resource import Strict

AVOIDED: Final = timedelta(hours=1)
"""For so long a road that failed is tried last."""
PROBED_EVERY: Final = timedelta(days=1)
REFRESHED: Final = timedelta(minutes=10)
"""The same finding is not written again more often."""


class Road(StrEnum):
    """How instances are fetched from a peer, or stored at one."""

    WADO = "WADO-RS"
    GET = "C-GET"
    MOVE = "C-MOVE"
    STORE = "C-STORE"
    STOW = "STOW-RS"


_SERVICES: Final[dict[Road, frozenset[str]]] = {
    Road.WADO: frozenset({WebService.WADO}),
    Road.GET: frozenset({Service.STUDY_ROOT_GET, Service.PATIENT_ROOT_GET}),
    Road.MOVE: frozenset({Service.STUDY_ROOT_MOVE, Service.PATIENT_ROOT_MOVE}),
    Road.STORE: frozenset({Service.STORAGE}),
    Road.STOW: frozenset({WebService.STOW}),
}
_KNOWN: Final = tuple(str(service) for kind in (Service, WebService) for service in kind)


class RoadFinding(Strict):
    """How one road did when it was last tried."""

    name: Road = Field(description="The road.")
    works: bool = Field(description="Whether it did what it was to do.")
    time: datetime = Field(description="When that was found, within ten minutes.")
    fault: FaultCode | None = Field(default=None, description="What was wrong with it (docs/faults.md).")


class Findings(Strict):
    """All that is known of one node; fixed in size."""

    probed_at: datetime | None = None
    services: tuple[str, ...] = ()  # that it offered then
    roads: tuple[RoadFinding, ...] = ()  # at most one of each


class Observation(BaseModel):
    """What one attempt, or one probe, saw of a node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str
    services: tuple[str, ...] | None = None  # None: not probed, or no answer
    roads: Annotated[dict[Road, FaultCode | None], Field(max_length=len(Road))] = {}


def observation(node: str, services: tuple[str, ...] | None, roads: Mapping[str, FaultCode | None]) -> Observation:
    """Of services and roads by any names, those that are ours."""
    known = None if services is None else tuple(service for service in _KNOWN if service in services)
    return Observation(node=node, services=known, roads={road: roads[road] for road in Road if road in roads})


def learned(findings: Findings, seen: Observation, now: datetime) -> Findings:
    """The findings with what was seen since; the very same where nothing is new."""
    roads = {each.name: each for each in findings.roads}
    for road, fault in seen.roads.items():
        old = roads.get(road)
        if old is None or old.fault != fault or now - old.time >= REFRESHED:
            roads[road] = RoadFinding(name=road, works=fault is None, time=now, fault=fault)
    probed = {} if seen.services is None else {"probed_at": now, "services": seen.services}
    changed = findings.model_copy(update={"roads": tuple(roads[road] for road in Road if road in roads), **probed})
    return findings if changed == findings else changed


def last_resorts(findings: Findings, now: datetime) -> tuple[Road, ...]:
    """The roads to try last: those that failed a while ago, or that the node did not offer when it was probed."""
    failed = {each.name for each in findings.roads if not each.works and now - each.time < AVOIDED}
    if findings.probed_at is not None:
        failed |= {road for road in Road if _SERVICES[road].isdisjoint(findings.services)}
    works = {each.name for each in findings.roads if each.works}
    return tuple(road for road in Road if road in failed - works)


def is_probe_due(findings: Findings, now: datetime) -> bool:
    return findings.probed_at is None or now - findings.probed_at >= PROBED_EVERY
