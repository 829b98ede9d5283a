"""Tokens, scopes, namespaces and rates: who may do what, and that nobody else learns anything."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adit.ledger.ledger import Ledger
from adit_api.services import utc_now
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, Scene, transfer_job

JOB = "/v1/transferjobs/default/ct"
SPEC = {
    "source": {"node": "pacs"},
    "destination": {"node": "research"},
    "selection": {"studies": [{"studyInstanceUID": "1.2.1"}]},
}
HERE = str(Path(__file__).parent)  # a small folder: /tmp may hold anything, and is searched as a whole
CALLS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("read", "GET", "/v1/transferjobs", {}),
    ("read", "GET", JOB, {}),
    ("read", "GET", f"{JOB}/tasks", {}),
    ("read", "GET", f"{JOB}/manifest", {}),
    ("read", "GET", f"{JOB}/manifest.csv", {}),
    ("read", "GET", f"{JOB}/deidentification", {}),
    ("read", "GET", "/v1/dicomnodes", {}),
    ("read", "GET", "/v1/dicomnodes/default/pacs", {}),
    ("read", "GET", "/v1/deidprofiles", {}),
    ("nodes", "PUT", "/v1/deidprofiles/default/basic", {"json": {"spec": {"key": {"secretName": "key"}}}}),
    ("read", "GET", "/v1/deidprofiles/default/basic", {}),
    ("write", "POST", "/v1/transferjobs", {"json": {"metadata": {"name": "new"}, "spec": SPEC}}),
    ("write", "POST", f"{JOB}/suspend", {}),
    ("write", "POST", f"{JOB}/resume", {}),
    ("write", "POST", "/v1/selections", {"json": {"studies": [{"studyInstanceUID": "1.2"}]}}),
    ("nodes", "PUT", "/v1/dicomnodes/default/folder", {"json": {"spec": {"folder": {"path": HERE}}}}),
    ("find", "POST", "/v1/dicomnodes/default/folder/probe", {}),
    ("find", "POST", "/v1/dicomnodes/default/folder/find", {"json": {}}),
    ("write", "POST", f"{JOB}/cancel", {"json": {}}),
]


def test_each_call_needs_its_scope(facade: Facade, scene: Scene, admin: str) -> None:
    scene.apply()
    tokens = {scope: facade.token(scope) for scope in ("read", "write", "find", "nodes")}
    for needed, method, path, given in CALLS:
        for scope, token in tokens.items():
            answer = facade.call(method, path, token, **dict(given))
            assert (answer.status_code == 403) == (scope != needed), (method, path, scope, answer.text)
            assert answer.status_code < 500, answer.text
    for _, method, path, given in CALLS[:11]:
        assert facade.call(method, path, admin, **dict(given)).status_code == 200


def test_no_token_no_answer(facade: Facade, scene: Scene) -> None:
    scene.apply()
    expired = facade.ledger.create_token("old", ["admin"], None, utc_now() - timedelta(seconds=1), NOW)
    revoked = facade.token("admin", name="revoked")
    facade.ledger.revoke_token("revoked", utc_now())
    for token in (None, expired, revoked, "adit_", "x" * 5000, "' OR 1=1 --"):
        answer = facade.call("GET", JOB, token)
        assert answer.status_code == 401, token
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:adit:problem:unauthenticated"
    odd = facade.client.get(JOB, headers=[(b"authorization", b"Bearer \xff\xfe\x00"[:-1])])
    assert odd.status_code == 401
    basic = facade.call("GET", JOB, headers={"Authorization": "Basic YTpi"})
    assert basic.status_code == 401


def test_a_token_of_a_namespace_sees_no_other(facade: Facade, scene: Scene, ledger: Ledger) -> None:
    scene.apply()
    lab = facade.token("admin", namespaces=["lab"])
    for _, method, path, given in CALLS:
        answer = facade.call(method, path, lab, **dict(given))
        if path in ("/v1/transferjobs", "/v1/dicomnodes", "/v1/deidprofiles") and method == "GET":
            assert answer.json()["items"] == []
        else:
            assert answer.status_code == 403, (method, path)
    assert facade.call("GET", "/v1/transferjobs", lab, params={"namespace": "default"}).status_code == 403
    for there in ("ct", "nobody"):  # nothing tells them apart
        assert facade.call("GET", f"/v1/transferjobs/default/{there}", lab).status_code == 403
    posted = facade.call(
        "POST", "/v1/selections", lab, json={"namespace": "lab", "studies": [{"studyInstanceUID": "1"}]}
    )
    assert posted.status_code == 201
    assert ledger.job(("default", "new")) is None


def test_a_facade_serves_its_namespaces_only(ledger: Ledger, settings: Settings, scene: Scene) -> None:
    scene.apply()
    with running(ledger, settings.model_copy(update={"namespaces": "lab, ward"})) as facade:
        admin = facade.token("admin")
        assert facade.call("GET", JOB, admin).status_code == 403
        assert facade.call("GET", "/v1/transferjobs", admin).json()["items"] == []


def test_too_many_calls_wait_by_the_token(ledger: Ledger, settings: Settings) -> None:
    with running(ledger, settings.model_copy(update={"rate_limit": "3/minute"})) as facade:
        busy, other = facade.token("read"), facade.token("read")
        statuses = [facade.call("GET", "/v1/transferjobs", busy).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        late = facade.call("GET", "/v1/transferjobs", busy)
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert late.json()["type"] == "urn:adit:problem:too-many-requests"
        assert facade.call("GET", "/v1/transferjobs", other).status_code == 200


def test_wrong_tokens_are_tried_slowly_and_good_ones_are_not_held_up(facade: Facade, admin: str) -> None:
    statuses = [facade.call("GET", "/v1/transferjobs", f"adit_{n}").status_code for n in range(32)]
    assert statuses == [401] * 30 + [429] * 2
    assert facade.call("GET", "/v1/transferjobs", admin).status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123.XYZ_9", True), ("short", False), ("a b" * 4, False), ("x" * 65, False)]
)
def test_a_request_has_an_id(facade: Facade, given: str, kept: bool) -> None:
    answer = facade.call("GET", "/v1/nothing", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert answer.json()["requestId"] == answer.headers["x-request-id"]


def test_jobs_of_another_namespace_are_not_steered(facade: Facade, scene: Scene) -> None:
    scene.apply(transfer_job())
    lab = facade.token("admin", namespaces=["lab"])
    assert facade.call("POST", f"{JOB}/cancel", lab, json={}).status_code == 403
    assert scene.record().job.spec.cancel is None
