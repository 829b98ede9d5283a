"""QIDO-RS to a real Orthanc, and to servers that page, cut and lie: all answers or a fault, never some of them."""

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adit.dicom.node import Level, Query
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dicomweb.nodes import JSON, listing, node, query_of
from tests.peers import Orthanc, ScriptedWeb
from tests.peers.raw_web import RawWeb
from tests.peers.scripted_web import Asked, Reply
from tests.samples import ct_study, mixed_study, names_of_the_world

STUDY = ct_study(5, series=2)
MIXED = mixed_study()
SERIES: dict[str, Any] = {
    "StudyInstanceUID": STUDY.study_instance_uid,
    "SeriesInstanceUID": STUDY.series_instance_uids[0],
}
IMAGES = [item for item in STUDY.instances if item.SeriesInstanceUID == SERIES["SeriesInstanceUID"]]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("qido"), dicomweb=True) as peer:
        peer.upload(*STUDY.files(), *MIXED.files(), *(file for study in names_of_the_world() for file in study.files()))
        yield peer


def found(peer: Orthanc | str, level: Level, keyword: str, limit: int | None = None, **keys: str) -> list[str]:
    url = peer if isinstance(peer, str) else peer.dicomweb_url
    return [str(answer.get(keyword)) for answer in node(url).find(Query(level, keys, limit=limit))]


def code_of(url: str, query: Query) -> FaultCode:
    with pytest.raises(TransferFault) as raised:
        list(node(url).find(query))
    assert raised.value.fault.node == "server"
    assert raised.value.fault.cure
    return raised.value.fault.code


# A real server


def test_each_level(orthanc: Orthanc) -> None:
    uid = STUDY.study_instance_uid
    assert len(found(orthanc, Level.STUDY, "StudyInstanceUID")) == 7
    assert set(found(orthanc, Level.PATIENT, "PatientID")) == {"1001", "1002", "2000", "2001", "2002", "2003", "2004"}
    assert found(orthanc, Level.STUDY, "StudyInstanceUID", PatientID="1001") == [uid]
    assert set(found(orthanc, Level.SERIES, "SeriesInstanceUID", StudyInstanceUID=uid)) == set(
        STUDY.series_instance_uids
    )
    assert sorted(found(orthanc, Level.IMAGE, "SOPInstanceUID", **SERIES)) == sorted(i.SOPInstanceUID for i in IMAGES)


def test_what_is_asked_for_besides_comes(orthanc: Orthanc) -> None:
    query = Query(
        Level.STUDY,
        {"StudyInstanceUID": MIXED.study_instance_uid},
        ("NumberOfStudyRelatedInstances", "ModalitiesInStudy"),
    )
    [answer] = node(orthanc.dicomweb_url).find(query)
    assert answer.get("NumberOfStudyRelatedInstances") == "5"
    assert sorted(answer.get("ModalitiesInStudy")) == ["CT", "MR"]


def test_wildcards_ranges_and_lists(orthanc: Orthanc) -> None:
    in_january: dict[str, Any] = {"PatientID": "100?", "StudyDate": "20240101-20240201"}
    assert sorted(found(orthanc, Level.STUDY, "PatientID", **in_january)) == ["1001", "1002"]
    assert found(orthanc, Level.STUDY, "PatientID", StudyDate="20240201-") == []
    assert sorted(found(orthanc, Level.STUDY, "PatientID", PatientID="1001\\1002")) == ["1001", "1002"]
    assert sorted(found(orthanc, Level.STUDY, "PatientID", ModalitiesInStudy="MR\\US")) == ["1002"]


def test_a_limit_counts_answers(orthanc: Orthanc) -> None:
    assert len(found(orthanc, Level.STUDY, "StudyInstanceUID", limit=2)) == 2
    assert len(found(orthanc, Level.IMAGE, "SOPInstanceUID", limit=3, **SERIES)) == 3


def test_what_it_does_not_have_is_no_fault(orthanc: Orthanc) -> None:
    assert found(orthanc, Level.STUDY, "StudyInstanceUID", StudyInstanceUID="1.2.3") == []
    assert found(orthanc, Level.SERIES, "SeriesInstanceUID", StudyInstanceUID="1.2.3") == []
    assert found(orthanc, Level.IMAGE, "SOPInstanceUID", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4") == []


# Paging


def paged(server_limit: int, *, says: str = "", ignores_offset: bool = False) -> Callable[[Asked], Reply]:
    """A server that gives at most so many, and tells that there are more by its status or by a Warning."""

    def react(asked: Asked) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        at = 0 if ignores_offset else int(query.get("offset", ["0"])[0])
        end = at + min(server_limit, int(query["limit"][0]))
        more = end < len(IMAGES)
        headers = {"Warning": '299 pacs "There are more"'} if more and says == "Warning" else {}
        return listing(IMAGES[at:end], status=206 if more and says == "206" else 200, **headers)

    return react


@pytest.mark.parametrize("says", ["", "206", "Warning"])
@pytest.mark.parametrize("server_limit", [1, 2, 5, 1000])
def test_all_pages_are_fetched_however_the_server_cuts_them(server_limit: int, says: str) -> None:
    with ScriptedWeb(paged(server_limit, says=says)) as web:
        uids = found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES)
    assert uids == [str(item.SOPInstanceUID) for item in IMAGES]


@pytest.mark.parametrize("says", ["206", "Warning"])
def test_what_is_announced_and_never_comes_is_a_fault(says: str) -> None:
    with ScriptedWeb(paged(2, says=says, ignores_offset=True)) as web:
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.QUERY_FAILED


def test_a_page_as_long_as_the_limit_that_comes_again_is_a_fault() -> None:
    with ScriptedWeb(lambda asked: listing(IMAGES[:2], "InstanceNumber")) as web:
        query = Query(Level.IMAGE, {**SERIES, "InstanceNumber": "4711"}, limit=2)  # none matches: it must look on
        assert code_of(web.url, query) is FaultCode.QUERY_FAILED


def test_a_promise_that_an_empty_page_breaks_is_a_fault() -> None:
    replies = [listing(IMAGES[:2], status=206), Reply(204)]
    with ScriptedWeb(lambda asked: replies.pop(0)) as web:
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.QUERY_FAILED


def test_a_server_that_knows_no_paging_gives_all_at_once() -> None:
    with ScriptedWeb(lambda asked: listing(IMAGES)) as web:
        assert len(found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES)) == len(IMAGES)


def test_a_server_that_refuses_a_big_limit_is_asked_for_less() -> None:
    def react(asked: Asked) -> Reply:
        if int(parse_qs(urlsplit(asked.path).query)["limit"][0]) > 200:
            return Reply(400)
        return paged(3)(asked)

    with ScriptedWeb(react) as web:
        assert len(found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES)) == len(IMAGES)
        web.react = lambda asked: Reply(400)
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.QUERY_FAILED


def test_a_server_that_tells_too_much_is_asked_for_less() -> None:
    """It gives all that it has of each instance, whatever it was asked for."""

    def react(asked: Asked) -> Reply:
        size, offset = (int(parse_qs(urlsplit(asked.path).query).get(key, ["0"])[0]) for key in ("limit", "offset"))
        told = listing(IMAGES[offset : offset + size])
        return told if size <= 100 else replace(told, body=told.body + b" " * (16 * 2**20))

    with ScriptedWeb(react) as web:
        assert len(found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES)) == len(IMAGES)


@pytest.mark.parametrize("element", [b"{},", b"[],", b'{"a":{}},'])
def test_an_answer_that_would_fill_the_memory_is_not_read(element: bytes) -> None:
    body = b"[" + element * (12 * 2**20 // len(element)) + b"{}]"
    with ScriptedWeb(lambda asked: Reply(200, body, JSON)) as web:
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.QUERY_FAILED


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nServ"]
)
def test_an_answer_that_is_cut_before_its_body_is_not_an_empty_one(begun: bytes) -> None:
    with RawWeb(lambda connected: connected.sendall(begun)) as web:
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.ASSOCIATION_ABORTED


def test_a_compressed_answer_is_told_as_what_it_is() -> None:
    told = listing(IMAGES)
    coded = replace(told, body=gzip.compress(told.body), headers={**told.headers, "Content-Encoding": "gzip"})
    with ScriptedWeb(lambda asked: coded) as web, pytest.raises(TransferFault) as raised:
        list(node(web.url).find(Query(Level.IMAGE, SERIES)))
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert "gzip" in raised.value.fault.message


def test_answers_that_do_not_match_are_dropped_and_none_comes_twice() -> None:
    with ScriptedWeb(lambda asked: listing([*STUDY.instances, *STUDY.instances])) as web:
        assert found(web.url, Level.STUDY, "PatientID") == ["1001"]
        assert found(web.url, Level.STUDY, "PatientID", PatientID="1002") == []
        assert found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES) == [str(i.SOPInstanceUID) for i in IMAGES]


# Statuses


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, FaultCode.PERMISSION_DENIED),
        (403, FaultCode.PERMISSION_DENIED),
        (404, FaultCode.SERVICE_NOT_OFFERED),
        (302, FaultCode.SERVICE_NOT_OFFERED),
        (501, FaultCode.SERVICE_NOT_OFFERED),
        (500, FaultCode.QUERY_FAILED),
        (502, FaultCode.QUERY_FAILED),
        (504, FaultCode.NODE_TIMEOUT),
    ],
)
def test_a_status_is_a_fault(status: int, code: FaultCode) -> None:
    with ScriptedWeb(lambda asked: Reply(status)) as web:
        assert code_of(web.url, Query(Level.STUDY)) is code


def test_404_below_a_study_means_that_there_is_none_if_there_is_none() -> None:
    with ScriptedWeb(lambda asked: listing([]) if "/series" not in asked.path else Reply(404)) as web:
        assert found(web.url, Level.IMAGE, "SOPInstanceUID", **SERIES) == []
    with ScriptedWeb(lambda asked: Reply(404) if "/instances" in asked.path else listing(IMAGES[:1])) as web:
        assert code_of(web.url, Query(Level.IMAGE, SERIES)) is FaultCode.SERVICE_NOT_OFFERED


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"[1]", b'[{"00100020": 5}]', b'[{"x": {}}]', b"[" * 100_000, b'[{"0']
)
def test_garbage_is_a_fault(body: bytes) -> None:
    with ScriptedWeb(lambda asked: Reply(200, body, {"Content-Type": "text/html"})) as web:
        assert code_of(web.url, Query(Level.STUDY)) is FaultCode.QUERY_FAILED


def test_an_answer_without_its_key_is_a_fault() -> None:
    with ScriptedWeb(lambda asked: Reply(200, b'[{"00100020": {"vr": "LO", "Value": ["1"]}}]', JSON)) as web:
        assert code_of(web.url, Query(Level.STUDY)) is FaultCode.QUERY_FAILED


def test_texts_in_another_charset_do_not_hide_the_study() -> None:
    body = '[{"0020000D": {"vr": "UI", "Value": ["1.2"]}, "00081030": {"vr": "LO", "Value": ["Schädel"]}}]'
    with ScriptedWeb() as web:
        web.react_once(Reply(200, body.encode("latin-1"), JSON))
        web.react = lambda asked, once=web.react: once(asked) if len(web.asked) == 1 else listing([])  # type: ignore[misc]
        assert found(web.url, Level.STUDY, "StudyInstanceUID") == ["1.2"]


# What is sent


def test_the_patient_is_not_in_the_url_where_the_study_is_named() -> None:
    keys = {"PatientID": "4711", "PatientName": "Apple^Annie", "StudyInstanceUID": "1.2"}
    with ScriptedWeb(lambda asked: listing([])) as web:
        list(node(web.url).find(Query(Level.STUDY, keys)))
        list(node(web.url).find(Query(Level.SERIES, keys)))
        list(node(web.url).find(Query(Level.IMAGE, {**keys, "SeriesInstanceUID": "1.3"})))
        assert not [asked.path for asked in web.asked if "4711" in asked.path or "Annie" in asked.path]
        list(node(web.url).find(Query(Level.STUDY, {"PatientID": "4711"})))
        assert "00100020=4711" in query_of(web.asked[-1].path)


def test_prefix_and_values_are_encoded() -> None:
    with ScriptedWeb(lambda asked: listing([])) as web:
        ours = node(f"{web.url}/dicom-web/", prefixes={"qido": "qido/v1"})
        list(ours.find(Query(Level.STUDY, {"PatientName": "Müller & Söhne*", "StudyDate": ""})))
    path, _, query = web.asked[0].path.partition("?")
    assert path == "/dicom-web/qido/v1/studies"
    assert "00100010=M%C3%BCller%20%26%20S%C3%B6hne*" in query.split("&")
    assert "includefield=00080020" in query.split("&")


def test_keys_that_the_level_needs() -> None:
    assert code_of("http://127.0.0.1:1", Query(Level.SERIES)) is FaultCode.SERVICE_NOT_OFFERED
    assert code_of("http://127.0.0.1:1", Query(Level.IMAGE, {**SERIES, "SeriesInstanceUID": "1.*"})) is (
        FaultCode.SERVICE_NOT_OFFERED
    )
    with pytest.raises(TransferFault) as raised:
        list(node("http://127.0.0.1:1", services=["WADO-RS"]).find(Query(Level.STUDY)))
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED


def test_queries_keep_to_the_share() -> None:
    raised: list[FaultCode] = []
    with ScriptedWeb(lambda asked: listing([])) as web:
        ours = node(web.url, share=Share(queries_per_second=0.001))
        list(ours.find(Query(Level.STUDY)))

        def ask_again() -> None:
            try:
                list(ours.find(Query(Level.STUDY)))
            except TransferFault as stopped:
                raised.append(stopped.fault.code)

        waiting = threading.Thread(target=ask_again)
        waiting.start()
        ours.interrupt()
        waiting.join(90)
    assert raised == [FaultCode.INTERRUPTED]
    assert len(web.asked) == 1
