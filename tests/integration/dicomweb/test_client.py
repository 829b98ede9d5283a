"""Who we are, whom we trust, and what a server's word is worth: credentials, TLS, redirects, Retry-After, logs."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from adit.dicom.node import Level, Query, Wanted
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dicomweb.nodes import listing, node, stored
from tests.integration.dimse.nodes import Basket, as_instance
from tests.peers import Certificates, Orthanc, ScriptedWeb
from tests.peers.raw_web import RawWeb
from tests.peers.scripted_web import Asked, Reply, multipart
from tests.peers.server_process import free_port
from tests.samples import ct_study

STUDY = ct_study(2)
ONE = STUDY.instances[0]
MARK = "Sesam-1"  # what no log may show
BASIC: dict[str, Any] = {"credentials": {"secretName": "who", "scheme": "Basic"}}
BEARER: dict[str, Any] = {"credentials": {"secretName": "who", "scheme": "Bearer"}}
HEADER: dict[str, Any] = {"credentials": {"secretName": "who", "scheme": "Header", "headerName": "X-Api-Key"}}
TLS: dict[str, Any] = {"tls": {"secretName": "web-tls"}}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    (folder / "who").mkdir(parents=True)
    for key, value in {"username": "alice", "password": MARK, "token": f"{MARK}\n", "value": MARK}.items():
        (folder / "who" / key).write_text(value)
    return folder


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(certificates: Certificates) -> Path:
    return certificates.issue("server")


@pytest.fixture(scope="module")
def trusting(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    copytree(certificates.issue("client"), folder / "web-tls")
    return folder


@pytest.fixture
def web() -> Iterator[ScriptedWeb]:
    with ScriptedWeb(lambda asked: listing([])) as server:
        yield server


def ask(url: str, secrets: Path | None = None, **more: Any) -> None:
    list(node(url, secrets=secrets, **more).find(Query(Level.STUDY)))


def code_of(url: str, secrets: Path | None = None, **more: Any) -> FaultCode:
    with pytest.raises(TransferFault) as raised:
        ask(url, secrets, **more)
    assert raised.value.fault.node == "server"
    assert raised.value.fault.cure
    assert MARK not in str(raised.value)
    return raised.value.fault.code


# Who we are


@pytest.mark.parametrize(
    ("credentials", "header", "value"),
    [
        (BASIC, "Authorization", "Basic YWxpY2U6U2VzYW0tMQ=="),
        (BEARER, "Authorization", f"Bearer {MARK}"),
        (HEADER, "X-Api-Key", MARK),
    ],
)
def test_credentials_are_sent(
    web: ScriptedWeb, secrets: Path, credentials: dict[str, Any], header: str, value: str
) -> None:
    ask(web.url, secrets, **credentials)
    assert web.asked[0].headers[header] == value


def test_a_renewed_token_counts_at_once(web: ScriptedWeb, secrets: Path) -> None:
    ours = node(web.url, secrets=secrets, **BEARER)
    list(ours.find(Query(Level.STUDY)))
    (secrets / "who" / "token").write_text("fresh")
    list(ours.find(Query(Level.STUDY)))
    assert [asked.headers["Authorization"] for asked in web.asked] == [f"Bearer {MARK}", "Bearer fresh"]


def test_a_real_server_checks_who_we_are(tmp_path: Path, secrets: Path) -> None:
    users: dict[str, Any] = {"AuthenticationEnabled": True, "RegisteredUsers": {"alice": MARK}}
    with Orthanc(tmp_path, dicomweb=True, user=("alice", MARK), **users) as orthanc:
        orthanc.upload(*STUDY.files())
        ours = node(orthanc.dicomweb_url, secrets=secrets, **BASIC)
        assert ours.probe().services == ("QIDO-RS", "WADO-RS", "STOW-RS")
        assert ours.fetch(Wanted(STUDY.study_instance_uid), Basket()).completed == 2
        assert code_of(orthanc.dicomweb_url) is FaultCode.PERMISSION_DENIED
        (secrets / "who" / "password").write_text("wrong")
        assert code_of(orthanc.dicomweb_url, secrets, **BASIC) is FaultCode.PERMISSION_DENIED
        probe = ours.probe()
        assert probe.fault is not None
        assert probe.fault.code is FaultCode.PERMISSION_DENIED
        with pytest.raises(TransferFault) as raised:
            ours.open_store(()).store(as_instance(ONE))
        assert (raised.value.fault.code, raised.value.fault.sop_instance_uid) == (FaultCode.PERMISSION_DENIED, None)


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff\xfe", "Schlüssel".encode()])
def test_a_secret_that_is_not_there_or_is_none_is_told(web: ScriptedWeb, secrets: Path, content: bytes | None) -> None:
    (secrets / "who" / "token").unlink()
    if content is not None:
        (secrets / "who" / "token").write_bytes(content)
    assert code_of(web.url, secrets, **BEARER) is FaultCode.SECRET_MISSING
    assert web.asked == []


def test_without_a_folder_of_secrets_nothing_is_asked(web: ScriptedWeb) -> None:
    assert code_of(web.url, None, **BEARER) is FaultCode.SECRET_MISSING
    assert web.asked == []


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_do_not_follow_a_redirect(web: ScriptedWeb, secrets: Path, status: int) -> None:
    with ScriptedWeb(lambda asked: listing(STUDY.instances)) as elsewhere:
        web.react = lambda asked: Reply(status, headers={"Location": f"{elsewhere.url}/studies"})
        ours = node(web.url, secrets=secrets, **HEADER)
        assert code_of(web.url, secrets, **HEADER) is FaultCode.SERVICE_NOT_OFFERED
        with pytest.raises(TransferFault):
            ours.fetch(Wanted(STUDY.study_instance_uid), Basket())
        with pytest.raises(TransferFault):
            ours.open_store(()).store(as_instance(ONE))
        assert ours.probe().services == ()
        assert elsewhere.asked == []


# A busy server


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says_so(web: ScriptedWeb, status: int) -> None:
    web.react_once(Reply(status, headers={"Retry-After": "1"}), Reply(status))
    clock = datetime.now(UTC)
    ask(web.url)
    assert len(web.asked) == 3
    assert datetime.now(UTC) - clock >= timedelta(seconds=1)


def test_a_busy_server_names_a_moment(web: ScriptedWeb) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    web.react_once(Reply(503, headers={"Retry-After": format_datetime(soon, usegmt=True)}))
    ask(web.url)
    assert datetime.now(UTC) >= soon


def test_who_is_to_wait_too_long_gives_up_at_once_and_asks_nobody_meanwhile(web: ScriptedWeb) -> None:
    web.react = lambda asked: Reply(503, headers={"Retry-After": "3600"})
    ours = node(web.url)
    for _ in range(3):
        with pytest.raises(TransferFault) as raised:
            list(ours.find(Query(Level.STUDY)))
        assert raised.value.fault.code is FaultCode.OUT_OF_RESOURCES
    with pytest.raises(TransferFault):
        ours.open_store(()).store(as_instance(ONE))
    assert len(web.asked) == 1


@pytest.mark.parametrize("at_once", ["0", "Tue, 24 Nov 2020 12:02:00 GMT"])
def test_who_says_at_once_each_time_is_not_asked_for_ever(web: ScriptedWeb, at_once: str) -> None:
    web.react = lambda asked: Reply(503, headers={"Retry-After": at_once})
    assert code_of(web.url, None) is FaultCode.OUT_OF_RESOURCES
    assert len(web.asked) <= 5


def test_a_busy_server_gets_the_whole_instance_again(web: ScriptedWeb) -> None:
    web.react = lambda asked: stored(str(ONE.SOPInstanceUID))
    web.react_once(Reply(503, headers={"Retry-After": "0"}))
    node(web.url).open_store(()).store(as_instance(ONE))
    first, second = (asked.body.split(b"\r\n", 1)[1].rsplit(b"\r\n--", 1)[0] for asked in web.asked)
    assert first == second


def test_a_busy_server_gives_the_study_later(web: ScriptedWeb) -> None:
    web.react = lambda asked: multipart(STUDY.files())
    web.react_once(Reply(503, headers={"Retry-After": "0"}))
    assert node(web.url).fetch(Wanted(STUDY.study_instance_uid), Basket()).completed == 2


# Connections


def test_nobody_there() -> None:
    assert code_of(f"http://127.0.0.1:{free_port()}") is FaultCode.NODE_UNREACHABLE
    assert code_of("http://nowhere.invalid") is FaultCode.NODE_UNREACHABLE


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nX-One: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 2),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["one line", "lines", "continue"],
)
def test_headers_that_do_not_end(first: bytes, again: bytes) -> None:
    def trickle(connected: socket.socket) -> None:
        connected.sendall(first)
        while True:
            connected.sendall(again)
            time.sleep(0.3)

    with RawWeb(trickle) as peer:
        brief = {"connect_seconds": 2, "answer_seconds": 1, "network_seconds": 1, "busy_seconds": 3}
        assert code_of(peer.url, None, timeouts=brief) is FaultCode.NODE_TIMEOUT


def test_a_kept_connection_that_has_gone_is_no_fault(web: ScriptedWeb) -> None:
    closing = Reply(204, headers={"Connection": "close"})
    web.react = lambda asked: closing
    ours = node(web.url, share=Share())
    for _ in range(3):
        assert list(ours.find(Query(Level.STUDY))) == []


def test_a_server_that_hangs_up_is_asked_once_more_and_then_told(web: ScriptedWeb) -> None:
    def hang_up(asked: Asked) -> Reply:
        raise ConnectionResetError

    web.react = hang_up
    assert code_of(web.url) is FaultCode.ASSOCIATION_ABORTED
    assert len(web.asked) == 2
    with pytest.raises(TransferFault) as raised:
        node(web.url).open_store(()).store(as_instance(ONE))
    assert raised.value.fault.code is FaultCode.ASSOCIATION_ABORTED
    assert len(web.asked) == 3  # an instance is sent again by who knows what became of the others


def test_one_connection_at_a_time_where_the_share_is_one(web: ScriptedWeb) -> None:
    brief = {"connectSeconds": 1, "answerSeconds": 1, "networkSeconds": 5, "busySeconds": 0}
    web.react = lambda asked: multipart(STUDY.files())
    ours = node(web.url, share=Share(associations=1), timeouts=brief)
    met: list[FaultCode] = []

    def deliver(instance: object) -> None:
        with pytest.raises(TransferFault) as raised:
            ours.fetch(Wanted(STUDY.study_instance_uid), Basket())
        met.append(raised.value.fault.code)

    assert ours.fetch(Wanted(STUDY.study_instance_uid), deliver).completed == 2
    assert met == [FaultCode.ASSOCIATION_REJECTED_TRANSIENT] * 2
    assert len(web.asked) == 1


# TLS


def test_both_sides_show_their_certificates(certificates: Certificates, served: Path, trusting: Path) -> None:
    with ScriptedWeb(lambda asked: listing([]), tls=served) as web:
        web.asks_for_certificates(certificates.ca)
        ask(web.url, trusting, **TLS)
        named: dict[str, Any] = {"tls": {"secretName": "web-tls", "serverName": "localhost"}}
        ask(web.url, trusting, **named)
        wrong: dict[str, Any] = {"tls": {"secretName": "web-tls", "serverName": "elsewhere.example.org"}}
        assert code_of(web.url, trusting, **wrong) is FaultCode.TLS_FAILED


def test_an_unknown_authority_is_not_trusted(served: Path, trusting: Path, tmp_path: Path) -> None:
    copytree(Certificates(tmp_path, "another-ca").issue("client"), tmp_path / "secrets" / "web-tls")
    with ScriptedWeb(lambda asked: listing([]), tls=served) as web:
        assert code_of(web.url, tmp_path / "secrets", **TLS) is FaultCode.TLS_FAILED
        assert code_of(web.url) is FaultCode.TLS_FAILED  # nor by the system's authorities
    assert web.asked == []


def test_a_server_whose_certificate_has_expired_is_not_trusted(certificates: Certificates, trusting: Path) -> None:
    with ScriptedWeb(lambda asked: listing([]), tls=certificates.issue("old-server", days=-1)) as web:
        with pytest.raises(TransferFault) as raised:
            ask(web.url, trusting, **TLS)
        assert raised.value.fault.code is FaultCode.TLS_FAILED
        assert "expired" in raised.value.fault.message
    assert web.asked == []


def test_a_server_that_asks_for_a_certificate_and_gets_none(
    certificates: Certificates, served: Path, tmp_path: Path
) -> None:
    (tmp_path / "web-tls").mkdir()
    (tmp_path / "web-tls" / "ca.crt").write_bytes(certificates.ca.read_bytes())
    with ScriptedWeb(lambda asked: listing([]), tls=served) as web:
        ask(web.url, tmp_path, **TLS)
        web.asks_for_certificates(certificates.ca)
        assert code_of(web.url, tmp_path, **TLS) in (FaultCode.TLS_FAILED, FaultCode.ASSOCIATION_ABORTED)


def test_tls_with_who_speaks_none(web: ScriptedWeb, trusting: Path) -> None:
    assert code_of(web.url.replace("http:", "https:"), trusting, **TLS) is FaultCode.TLS_FAILED


def test_without_tls_with_who_speaks_it(served: Path) -> None:
    with ScriptedWeb(lambda asked: listing([]), tls=served) as web:
        assert code_of(web.url.replace("https:", "http:")) is FaultCode.TLS_FAILED


@pytest.mark.parametrize("files", [[], ["tls.crt"], ["ca.crt", "tls.key"]])
def test_certificates_that_are_not_there(trusting: Path, tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "web-tls").mkdir()
    for file in files:
        (tmp_path / "web-tls" / file).write_bytes((trusting / "web-tls" / file).read_bytes())
    assert code_of("https://127.0.0.1:1", tmp_path, **TLS) is FaultCode.SECRET_MISSING


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "web-tls").mkdir()
    (tmp_path / "web-tls" / "ca.crt").write_text("no certificate")
    assert code_of("https://127.0.0.1:1", tmp_path, **TLS) is FaultCode.TLS_FAILED


# What is told to others


def test_no_log_tells_a_url_or_a_secret(secrets: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedWeb(lambda asked: listing(STUDY.instances)) as web:
        ours = node(web.url, secrets=secrets, **BASIC)
        list(ours.find(Query(Level.STUDY, {"PatientID": "4711"})))
        web.react = lambda asked: Reply(500, b"4711")
        with pytest.raises(TransferFault) as raised:
            list(ours.find(Query(Level.STUDY, {"PatientID": "4711"})))
    assert caplog.text == ""
    assert "4711" not in str(raised.value)


def test_no_proxy_of_the_environment_is_told_anything(web: ScriptedWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    ask(web.url)
    assert len(web.asked) == 1
