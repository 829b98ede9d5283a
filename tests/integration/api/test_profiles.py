"""DeidProfiles over REST: applied, listed, shown, judged by the dictionary, and named by jobs."""

from __future__ import annotations

from typing import Any

import pytest

from adit.ledger.ledger import Ledger
from adit.model.deid_profile import DeidProfile
from adit_api.services import utc_now
from tests.integration.api.running import Facade
from tests.integration.api.test_jobs import JOBS, body
from tests.integration.ledger.scene import NOW, node

PROFILES = "/v1/deidprofiles"
BASIC: dict[str, Any] = {"spec": {"key": {"secretName": "stroke-key"}}}
COPIES = {
    "selection": {"studies": [{"studyInstanceUID": "1.2.1", "patientID": "PAT-77", "pseudonym": "PSEUDO-77"}]},
    "deidentification": {"profile": "research"},
}


def test_a_profile_is_applied_and_shown(facade: Facade, admin: str, ledger: Ledger) -> None:
    path = f"{PROFILES}/default/research"
    assert facade.call("GET", path, admin).status_code == 404
    assert facade.call("PUT", path, admin, json=BASIC).status_code == 201
    assert facade.call("PUT", path, admin, json=BASIC).status_code == 200
    edited = {"spec": BASIC["spec"] | {"options": ["CleanDescriptors"]}}
    assert facade.call("PUT", path, admin, json=edited).status_code == 200
    shown = facade.call("GET", path, admin).json()
    assert (shown["name"], shown["spec"]["options"]) == ("research", ["CleanDescriptors"])
    assert ledger.profile(("default", "research")) is not None


def test_profiles_are_listed_in_pages(facade: Facade, admin: str) -> None:
    for namespace, name in (("a", "x"), ("b", "a"), ("a", "b")):
        assert facade.call("PUT", f"{PROFILES}/{namespace}/{name}", admin, json=BASIC).status_code == 201
    first = facade.call("GET", PROFILES, admin, params={"limit": 2}).json()
    rest = facade.call("GET", PROFILES, admin, params={"limit": 2, "cursor": first["next"]}).json()
    names = [(each["namespace"], each["name"]) for each in first["items"] + rest["items"]]
    assert names == [("a", "b"), ("a", "x"), ("b", "a")]
    lab = facade.token("read", namespaces=["b"])
    assert [each["name"] for each in facade.call("GET", PROFILES, lab).json()["items"]] == ["a"]


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ({"keyword": "MustermannHans", "action": "Keep"}, "spec.overrides[1]"),
        ({"keyword": "PixelData", "action": "Remove"}, "spec.overrides[1]"),
        ({"keyword": "PatientSex", "action": "Replace"}, "spec.overrides[1]"),
        ({"keyword": "patientSex", "action": "Keep"}, "spec.overrides[1].keyword"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(
    facade: Facade, admin: str, ledger: Ledger, override: Any, field: str
) -> None:
    overrides = [{"keyword": "PatientWeight", "action": "Keep"}, override]
    refused = facade.call(
        "PUT", f"{PROFILES}/default/x", admin, json={"spec": BASIC["spec"] | {"overrides": overrides}}
    )
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [field]
    assert "Mustermann" not in refused.text
    assert ledger.profiles() == []


def test_a_profile_in_git_is_changed_in_git(facade: Facade, admin: str, ledger: Ledger) -> None:
    metadata = {"name": "kept", "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}
    ledger.apply_profile(DeidProfile.model_validate({"metadata": metadata, **BASIC}), utc_now())
    assert facade.call("PUT", f"{PROFILES}/default/kept", admin, json=BASIC).status_code == 200
    edited = {"spec": BASIC["spec"] | {"options": ["CleanDescriptors"]}}
    refused = facade.call("PUT", f"{PROFILES}/default/kept", admin, json=edited)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:adit:problem:kept-in-git")
    assert "DeidProfile" in refused.json()["detail"]


@pytest.mark.usefixtures("nodes")
def test_a_job_with_pseudonyms_is_created_and_names_nobody(facade: Facade, admin: str, ledger: Ledger) -> None:
    waiting = facade.call("POST", JOBS, admin, json=body("early", **COPIES))
    assert waiting.status_code == 201, waiting.text
    assert waiting.json()["refusal"]["code"] == "ProfileNotFound"
    facade.call("PUT", f"{PROFILES}/default/research", admin, json=BASIC)
    created = facade.call("POST", JOBS, admin, json=body("copies", **COPIES))
    assert created.status_code == 201, created.text
    assert created.json().get("refusal") is None
    assert created.json()["deidentification"] == {"profile": "research"}
    shown = facade.call("GET", f"{JOBS}/default/copies", admin)
    assert shown.json()["deidentification"] == {"profile": "research"}
    record = ledger.job(("default", "copies"))
    assert record is not None
    for text in (waiting.text, created.text, shown.text, record.job.model_dump_json()):
        assert "PSEUDO-77" not in text
    listed = {"selection": {"studies": [{"studyInstanceUID": "1.2.1", "pseudonym": "P1"}]}}
    assert facade.call("POST", JOBS, admin, json=body("originals", **listed)).status_code == 422


def test_a_selection_with_pseudonyms_is_for_jobs_that_name_a_profile(facade: Facade, admin: str, nodes: None) -> None:
    studies = [{"studyInstanceUID": "1.2.1", "pseudonym": "P1"}, {"studyInstanceUID": "1.2.2"}]
    kept = facade.call("POST", "/v1/selections", admin, json={"name": "cohort", "studies": studies})
    assert (kept.status_code, kept.json()["pseudonyms"]) == (201, 1)
    facade.call("PUT", f"{PROFILES}/default/research", admin, json=BASIC)
    selection = {"list": {"name": "cohort"}}
    refused = facade.call("POST", JOBS, admin, json=body("originals", selection=selection))
    assert (refused.status_code, refused.json()["code"]) == (422, "DeidentificationUnavailable")
    by_profile = body("copies", selection=selection, deidentification={"profile": "research"})
    assert facade.call("POST", JOBS, admin, json=by_profile).status_code == 201


def test_originals_are_refused_where_only_copies_go(facade: Facade, admin: str, ledger: Ledger) -> None:
    ledger.apply_node(node("pacs"), NOW)
    research = {"dimse": {"aeTitle": "RESEARCH", "host": "127.0.0.1", "port": 1}, "accepts": "Deidentified"}
    assert facade.call("PUT", "/v1/dicomnodes/default/research", admin, json={"spec": research}).status_code == 201
    refused = facade.call("POST", JOBS, admin, json=body())
    assert (refused.status_code, refused.json()["code"]) == (422, "DeidentificationUnavailable")
    assert refused.json()["detail"].startswith("spec.deidentification is missing")
