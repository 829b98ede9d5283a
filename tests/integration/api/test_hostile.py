"""Whatever is sent: a problem that repeats none of it, in the answer or in the log, and never a 500."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit_api.settings import Settings
from tests.integration.api.conftest import logging_to
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, node
from tests.peers.server_process import wait_until
from tests.postgres import DatabaseServer

SECRET = "MUSTERMANN^ERIKA"
JOBS, SELECTIONS = "/v1/transferjobs", "/v1/selections"
DEEP = "[" * 100_000
GARBAGE: list[tuple[str, bytes, int]] = [
    ("empty", b"", 400),
    ("no JSON", b"studies: [1]", 400),
    ("half", b'{"studies": [', 400),
    ("NUL", b"\x00", 400),
    ("not UTF-8", b'{"name": "\xff\xfe"}', 400),
    ("a lone surrogate", b'{"name": "\\ud800"}', 400),
    ("deep lists", DEEP.encode(), 400),
    ("deep objects", b'{"studies":' * 50_000, 400),
    ("an endless number", b'{"expiresAfterSeconds": ' + b"9" * 5000 + b"}", 400),
    ("a huge exponent", b'{"expiresAfterSeconds": 1e400}', 422),
    ("NaN", b'{"expiresAfterSeconds": NaN}', 422),
    ("null", b"null", 422),
    ("a list", b"[]", 422),
    ("a text", json.dumps(SECRET).encode(), 422),
]


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with logging_to(tmp_path_factory.mktemp("hostile") / "facade.log") as path:
        yield path


@pytest.fixture(scope="module")
def facade(database_server: DatabaseServer, log_file: Path) -> Iterator[Facade]:
    """One for all that is tried here: it is to stand all of it."""
    name = database_server.database()
    source = engine(database_server.url(name))
    ledger = Ledger(source)
    for each in ("pacs", "research"):
        ledger.apply_node(node(each), NOW)
    generous = "100000/minute"
    settings = Settings(database_url=database_server.url(name), rate_limit=generous, node_rate_limit=generous)
    with running(ledger, settings) as facade:
        yield facade
    source.dispose()
    database_server.drop(name)


@pytest.fixture(scope="module")
def admin(facade: Facade) -> str:
    return facade.token("admin", name="admin")


@pytest.mark.parametrize(("body", "status"), [case[1:] for case in GARBAGE], ids=[case[0] for case in GARBAGE])
@pytest.mark.parametrize("path", [JOBS, SELECTIONS, "/v1/dicomnodes/default/pacs/find"])
def test_garbage_is_told_as_such(facade: Facade, admin: str, path: str, body: bytes, status: int) -> None:
    answer = facade.call("POST", path, admin, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    assert len(answer.content) < 20_000


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"studyInstanceUID": f"1.2.{number}", **more} for number in range(count)]


WRONG_ROWS: list[tuple[str, Any]] = [
    ("none", []),
    ("one too many", rows(50_001)),
    ("twice the same", [*rows(3), *rows(1)]),
    ("a UID of letters", [{"studyInstanceUID": SECRET}]),
    ("a UID with a line", [{"studyInstanceUID": "1.2\n"}]),
    ("a control character", rows(1, patientID=f"{SECRET}\x07")),
    ("a NUL", rows(1, patientID=f"{SECRET}\x00")),
    ("a wildcard", rows(1, patientID=f"{SECRET}*")),
    ("too long", rows(1, patientID=SECRET * 9)),
    ("a number", rows(1, patientID=4711)),
    ("an unknown field", rows(1, **{SECRET: 1})),
    ("a list for a text", rows(1, patientID=[SECRET])),
    ("series twice", rows(1, seriesInstanceUIDs=["1.2", "1.2"])),
    ("a pseudonym with a backslash", rows(1, pseudonym=f"{SECRET}\\x")),
    ("no object", [SECRET]),
]


@pytest.mark.parametrize("studies", [case[1] for case in WRONG_ROWS], ids=[case[0] for case in WRONG_ROWS])
def test_wrong_rows_are_told_by_place_and_rule_only(facade: Facade, admin: str, studies: Any, log_file: Path) -> None:
    answer = facade.call("POST", SELECTIONS, admin, json={"studies": studies})
    assert answer.status_code == 422
    told = answer.json()
    assert told["type"] == "urn:adit:problem:invalid"
    assert told["errors"][0]["field"].startswith("studies")
    assert told["errors"][0]["rule"]
    assert len(told["errors"]) <= 50
    assert SECRET not in answer.text + log_file.read_text()


SQL = "'; DROP TABLE job; --"


def test_sql_is_a_text_like_any_other(facade: Facade, admin: str) -> None:
    posted = facade.call("POST", SELECTIONS, admin, json={"name": "sql", "studies": rows(1, patientID=SQL)})
    assert posted.status_code == 201
    for parameter in ("owner", "source", "cursor", "state", "namespace", "createdAfter"):
        refused = facade.call("GET", JOBS, admin, params={parameter: SQL})
        assert (refused.status_code, SQL in refused.text) == (422, False)
    for path in (
        f"{JOBS}/default/{SQL}",
        f"{JOBS}/%00/ct",
        f"{JOBS}/default/ct%00/tasks",
        f"{JOBS}/default/ct/tasks/1%00",
    ):
        assert facade.call("GET", path, admin).status_code in (404, 422)
    assert facade.call("GET", JOBS, admin).status_code == 200


def test_a_selection_may_have_50000_rows(facade: Facade, admin: str) -> None:
    posted = facade.call("POST", SELECTIONS, admin, json={"name": "big", "studies": rows(50_000, patientID="P")})
    assert posted.status_code == 201, posted.text[:500]
    assert posted.json()["size"] == 50_000
    assert facade.call("GET", posted.headers["location"], admin).json()["withoutPatientID"] == 0
    again = facade.call("POST", SELECTIONS, admin, json={"name": "big", "studies": rows(50_000, patientID="P")})
    assert (again.status_code, again.json()["id"]) == (200, posted.json()["id"])
    other = facade.call("POST", SELECTIONS, admin, json={"name": "big", "studies": rows(49_999)})
    assert other.status_code == 409


def begun(facade: Facade, admin: str, header: tuple[str, str], body: bytes = b"") -> tuple[int, str]:
    """What is answered to a body of which no more comes: it goes on too long, or says that it will."""
    connection = HTTPConnection(facade.client.base_url.host, facade.client.base_url.port, timeout=30)
    connection.putrequest("POST", JOBS)
    for name, value in (("Authorization", f"Bearer {admin}"), ("Content-Type", "application/json"), header):
        connection.putheader(name, value)
    connection.endheaders(body)
    with closing(connection), connection.getresponse() as answer:
        return answer.status, json.load(answer)["type"]


def test_a_body_has_its_size_and_its_type(facade: Facade, admin: str) -> None:
    too_large = (413, "urn:adit:problem:too-large")
    huge = b" " * (2**20 + 1)
    assert begun(facade, admin, ("Content-Length", str(len(huge)))) == too_large
    assert begun(facade, admin, ("Transfer-Encoding", "chunked"), b"%x\r\n%s\r\n" % (len(huge), huge)) == too_large
    assert facade.call("POST", JOBS, admin, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert facade.call("POST", JOBS, admin, content=b"{}").status_code == 415


def test_unknown_paths_and_methods_are_problems(facade: Facade, admin: str, log_file: Path) -> None:
    unknown = facade.call("GET", f"/v1/{SECRET}?PatientID={SECRET}", admin)
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    wrong = facade.call("DELETE", JOBS, admin)
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert wrong.headers["allow"]
    assert facade.call(SECRET.replace("^", ""), JOBS, admin).status_code == 405
    assert SECRET not in unknown.text + log_file.read_text()


def test_a_filter_with_a_typing_error_is_no_filter(facade: Facade, admin: str) -> None:
    for parameters in ({"sate": "Failure"}, {SECRET: "1"}, {"owner": "a", "Owner": "a"}):
        refused = facade.call("GET", JOBS, admin, params=parameters)
        assert refused.status_code == 422
        assert "createdAfter" in refused.json()["errors"][0]["rule"]
        assert SECRET not in refused.text
    assert facade.call("POST", f"{JOBS}/default/ct/suspend", admin, params={"x": 1}).status_code == 422


def test_what_nobody_foresaw_is_a_problem_too(
    facade: Facade, admin: str, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(facade.ledger, "job_page", fail)
    answer = facade.call("GET", JOBS, admin)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:adit:problem:unexpected")
    assert answer.headers["x-content-type-options"] == "nosniff"
    wait_until(lambda: '"status": 500' in log_file.read_text(), "it is logged")
    log = log_file.read_text()
    assert "RuntimeError" in log
    assert answer.json()["requestId"] in log
    assert SECRET not in answer.text + log


def test_a_caller_that_hangs_up_in_the_middle_harms_nobody(facade: Facade, admin: str) -> None:
    host, port = facade.client.base_url.host, facade.client.base_url.port
    assert port is not None
    head = (
        f"POST {SELECTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    with socket.create_connection((host, port)) as half:
        half.sendall(head.encode())
    assert facade.call("GET", JOBS, admin).status_code == 200


def test_nothing_of_a_posted_selection_leaves_the_ledger(facade: Facade, admin: str, log_file: Path) -> None:
    """Not into the resource, not into an answer, not into the log."""
    marks = {"patientID": "PAT-4711", "pseudonym": "PSEUDO-4711"}
    for name, studies in (("plain", rows(3, patientID=marks["patientID"])), ("asks", rows(3, **marks))):
        answer = facade.call("POST", SELECTIONS, admin, json={"name": name, "studies": studies})
        assert answer.status_code == 201
        spec = {"source": {"node": "pacs"}, "destination": {"node": "research"}, "selection": {"list": {"name": name}}}
        created = facade.call("POST", JOBS, admin, json={"metadata": {"name": name}, "spec": spec})
        assert created.status_code == (422 if name == "asks" else 201)
        inline = spec | {"selection": {"studies": studies}}
        second = facade.call("POST", JOBS, admin, json={"metadata": {"name": f"{name}-2"}, "spec": inline})
        assert second.status_code == created.status_code
        shown = facade.call("GET", JOBS, admin).text + answer.text + created.text + second.text
        documents = "".join(record.job.model_dump_json() for record in facade.ledger.jobs())
        for mark in marks.values():
            assert mark not in shown + documents + log_file.read_text()


def test_the_log_has_a_line_a_request(facade: Facade, admin: str, log_file: Path) -> None:
    facade.call("GET", JOBS, admin, params={"owner": "somebody"}, headers={"X-Request-ID": "request-12345"})
    wait_until(lambda: "request-12345" in log_file.read_text(), "it is logged")
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("request") == "request-12345"]
    assert (line["event"], line["method"], line["route"], line["status"]) == ("request", "GET", JOBS, 200)
    assert line["token"] == "admin"
    assert "somebody" not in log_file.read_text()
