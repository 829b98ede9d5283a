"""From lists and events into a real ledger: DeidProfiles as they come, are edited, spoiled, and go; and jobs of a
ledger that was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from adit.ledger.ledger import Ledger
from adit.model.deid_profile import DeidProfile, Option
from adit_operator.cluster_events import ClusterEvents
from adit_operator.intake import Intake
from adit_operator.kubernetes_api import DEID_PROFILES, TRANSFER_JOBS, Kind, KubernetesApi
from adit_operator.status_writer import StatusWriter
from tests.unit.model.specs import PROFILE
from tests.unit.operator.status_schema import check

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
Body = dict[str, Any]


@dataclass
class Listing:
    """An API server that lists what it is given, and keeps the statuses that are applied."""

    bodies: list[Body] = field(default_factory=list)
    statuses: dict[str, Body] = field(default_factory=dict)

    def list(self, kind: Kind, namespace: str | None) -> Iterator[Body]:
        """Objects of a list do not say what they are."""
        for body in self.bodies:
            if body["kind"] == kind.name and namespace in (None, body["metadata"]["namespace"]):
                yield {name: value for name, value in body.items() if name != "kind"}

    def apply_status(self, kind: Kind, namespace: str, name: str, status: Body, *, uid: str | None = None) -> Body:
        check(kind.name, status)
        self.statuses[name] = json.loads(json.dumps(status))
        return {}

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        return body


@dataclass
class Desk:
    ledger: Ledger
    api: Listing
    intake: Intake
    writer: StatusWriter

    def take(self, body: Mapping[str, Any]) -> None:
        self.intake.take(DEID_PROFILES, body)
        self.writer.write_due(NOW)

    def sweep(self, namespaces: tuple[str, ...] | None = None) -> None:
        self.intake.sweep(cast(KubernetesApi, self.api), namespaces)
        self.writer.write_due(NOW)

    def known(self, name: str = "research") -> DeidProfile | None:
        return self.ledger.profile(("default", name))

    def condition(self, kind: str, name: str = "research") -> Body:
        return next(each for each in self.api.statuses[name]["conditions"] if each["type"] == kind)


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    listing = Listing()
    api = cast(KubernetesApi, listing)
    writer = StatusWriter(ledger, api, ClusterEvents(api, "operator-0"))
    return Desk(ledger, listing, Intake(ledger, writer, clock=lambda: NOW), writer)


def body(generation: int = 1, name: str = "research", namespace: str = "default", uid: int = 1, **spec: Any) -> Body:
    metadata = {"name": name, "namespace": namespace, "uid": str(UUID(int=uid)), "generation": generation}
    return {"kind": "DeidProfile", "metadata": metadata, "spec": {**PROFILE, **spec}}


MISSPELT = [{"keyword": "PatientNam", "action": "Keep"}]


def test_a_profile_comes_is_edited_and_goes(desk: Desk) -> None:
    desk.take(body())
    assert desk.condition("Ready")["status"] == "True"
    desk.take(body(2, options=["CleanGraphics"]))
    known = desk.known()
    assert known is not None
    assert (known.metadata.generation, known.spec.options) == (2, (Option.CLEAN_GRAPHICS,))
    assert desk.api.statuses["research"]["observedGeneration"] == 2
    desk.take(body(1))
    assert desk.known() == known
    desk.intake.gone(DEID_PROFILES, body(2, uid=9))
    assert desk.known() == known
    desk.intake.gone(DEID_PROFILES, body(2))
    assert desk.known() is None


def test_an_annotation_that_is_mended_is_noticed_with_its_event(desk: Desk) -> None:
    """It changes no generation."""
    wrong = body()
    wrong["metadata"]["annotations"] = {"x" * 400: "longer than Kubernetes lets a key be"}
    desk.take(wrong)
    assert desk.condition("Accepted")["reason"] == "Invalid"
    desk.take(body())
    assert desk.known() is not None
    assert desk.condition("Accepted")["status"] == "True"


def test_what_only_the_dictionary_knows_is_wrong_is_not_taken(desk: Desk) -> None:
    desk.take(body(overrides=MISSPELT))
    assert desk.known() is None
    accepted = desk.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert accepted["message"].startswith("spec.overrides[0]: there is no attribute PatientNam in PS3.6")
    assert desk.condition("Ready")["status"] == "False"
    desk.take(body(2))
    assert desk.condition("Accepted")["status"] == "True"


def test_a_profile_that_is_spoiled_stays_as_it_was(desk: Desk) -> None:
    desk.take(body(options=["CleanGraphics"]))
    before = desk.known()
    desk.take(body(2, overrides=MISSPELT))
    assert desk.known() == before
    assert desk.condition("Ready")["status"] == "True"
    assert "Jobs use the profile as it was before this change." in desk.condition("Accepted")["message"]


def test_a_sweep_mends_what_events_missed(desk: Desk) -> None:
    desk.take(body())
    desk.take(body(name="elsewhere", namespace="other", uid=2))
    desk.api.bodies = [body(name="new", uid=3), body(name="spoiled", uid=4, overrides=MISSPELT)]
    desk.sweep(("default",))
    assert [each.key for each in desk.ledger.profiles()] == [("default", "new"), ("other", "elsewhere")]
    assert desk.condition("Ready", "new")["status"] == "True"
    assert desk.condition("Ready", "spoiled")["status"] == "False"
    desk.sweep()
    assert [each.key for each in desk.ledger.profiles()] == [("default", "new")]


def test_what_a_lost_ledger_had_done_is_not_done_again(desk: Desk) -> None:
    spec = {
        "source": {"node": "pacs"},
        "destination": {"node": "research"},
        "selection": {"studies": [{"studyInstanceUID": "1.2.3"}]},
    }
    metadata = {"name": "done", "namespace": "default", "uid": str(UUID(int=7)), "generation": 2}
    ended = {"observedGeneration": 1, "completionTime": "2026-03-01T12:00:00Z", "conditions": []}
    done: Body = {"kind": "TransferJob", "metadata": metadata, "spec": spec, "status": ended}
    waiting: Body = {
        "kind": "TransferJob",
        "metadata": {**metadata, "name": "new", "uid": str(UUID(int=8))},
        "spec": spec,
    }
    for _ in range(2):
        for each in (done, waiting):
            desk.intake.take(TRANSFER_JOBS, each)
        desk.api.bodies = [done, waiting]
        desk.sweep()
        assert set(desk.ledger.live_jobs()) == {UUID(int=8)}
    assert "done" not in desk.api.statuses
