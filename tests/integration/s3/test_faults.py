"""What a bucket can do to a transfer: be busy, refuse, vanish, break off, answer half, fall silent; and TLS."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from adit.dicom.folder import JobFolder
from adit.dicom.node import Instance, Level, Query, Stored, Wanted
from adit.dicom.s3 import S3Node
from adit.dicom.s3.bucket import checksum_of
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from adit.model.s3 import S3
from tests import samples
from tests.integration.folder.given_instance import given
from tests.integration.s3.conftest import JOB, JOB_KEY, OpenNode
from tests.integration.s3.test_destination import big, store
from tests.integration.s3.test_source import fetch, fill, whole
from tests.peers.bucket_proxy import SLOW_DOWN, BucketProxy, Reaction
from tests.peers.certificates import Certificates
from tests.peers.raw_web import RawWeb
from tests.peers.scripted_web import Asked, Reply, ScriptedWeb
from tests.peers.seaweedfs import OWNER, Bucket, SeaweedFS
from tests.peers.server_process import free_port, wait_until


def storing(node: S3Node) -> None:
    node.open_store(()).store(given(samples.instance("a")))


def finding(node: S3Node) -> None:
    list(node.find(Query(Level.STUDY)))


def proving(node: S3Node) -> None:
    list(node.verify("", [Stored("1.2", "1.3", "1.4", "1.5", 1, "", "x.dcm")]))


EVERYTHING = pytest.mark.parametrize("work", [storing, finding, proving])


def fault_of(work: Callable[[], object]) -> TransferFault:
    with pytest.raises(TransferFault) as caught:
        work()
    assert caught.value.fault.node == "lake"
    assert caught.value.fault.cure
    return caught.value


# --- careless servers ---

THREE = samples.ct_study(3)


def careless(objects: Mapping[str, bytes], spoil: Callable[[Asked, Reply], Reply]) -> Callable[[Asked], Reply]:
    """A server that knows nothing of If-Match and of Range, and answers a list and objects as `spoil` makes them."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><Size>{len(held)}</Size><ETag>{key}</ETag></Contents>"
        for key, held in objects.items()
    )
    listed = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def react(asked: Asked) -> Reply:
        key = asked.path.partition("?")[0].removeprefix("/bucket").strip("/")
        return spoil(asked, Reply(200, objects[key] if key else listed, {"ETag": key} if key else {}))

    return react


HELD = {f"{number}.dcm": samples.part10(item) for number, item in enumerate(THREE.instances)}


def test_a_server_that_ignores_ranges_and_breaks_off_gives_the_whole_all_the_same(open_node: OpenNode) -> None:
    cut = ["0.dcm"]

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if asked.headers.get("Range") is None and reply.headers.get("ETag") in cut:
            cut.remove(str(reply.headers["ETag"]))
            return replace(reply, cut_at=len(reply.body) // 2)
        return reply

    with ScriptedWeb(careless(HELD, spoil)) as server:
        got, report = fetch(open_node(endpoint=server.url, bucket="bucket"), THREE)
    assert (got, report.faults, cut) == (whole(THREE), (), [])


@pytest.mark.parametrize("shift", [-100, 100], ids=["earlier", "later"])
def test_a_server_that_goes_on_at_another_byte_than_was_asked_for(shift: int, open_node: OpenNode) -> None:
    """A cache that keeps objects in blocks does: with bytes twice or left out it would still have header and size."""

    def spoil(asked: Asked, reply: Reply) -> Reply:
        if reply.headers.get("ETag") != "0.dcm":
            return reply
        size = len(reply.body)
        start = int(str(asked.headers.get("Range", "bytes=0-")).removeprefix("bytes=").partition("-")[0])
        if not start:
            return reply if "Range" in asked.headers else replace(reply, cut_at=size // 2)
        start += shift
        content = reply.body[start:].ljust(size - size // 2, b"\0")[: size - size // 2 + max(0, -shift)]
        return Reply(206, content, {**reply.headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"})

    with ScriptedWeb(careless(HELD, spoil)) as server:
        node = open_node(endpoint=server.url, bucket="bucket")
        if shift < 0:
            got, report = fetch(node, THREE)
            assert (got, report.faults) == (whole(THREE), ())
        else:
            assert fault_of(lambda: fetch(node, THREE)).fault.code is FaultCode.FETCH_FAILED


def test_an_object_that_became_another_is_no_longer_what_was_listed(open_node: OpenNode) -> None:
    def spoil(asked: Asked, reply: Reply) -> Reply:
        if asked.headers.get("Range") is None and reply.headers.get("ETag") == "0.dcm":
            return replace(reply, body=HELD["1.dcm"], headers={"ETag": "new"})
        return reply

    with ScriptedWeb(careless(HELD, spoil)) as server:
        got, report = fetch(open_node(endpoint=server.url, bucket="bucket"), THREE)
    changed = str(THREE.instances[0].SOPInstanceUID)
    assert set(got) == THREE.sop_instance_uids - {changed}
    assert [(fault.code, fault.sop_instance_uid) for fault in report.faults] == [(FaultCode.FETCH_FAILED, changed)]


@pytest.mark.parametrize(
    ("instead", "of"),
    [
        (b"<Foo/>", None),
        (b"<IsTruncated>true</IsTruncated>", b"<IsTruncated>false</IsTruncated>"),
        (
            b"<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>",
            b"<IsTruncated>false</IsTruncated>",
        ),
        (b"", b"<ETag>0.dcm</ETag>"),
        (b"<Size>many", b"<Size>"),
    ],
    ids=["something else", "more without a token", "the same token for ever", "no ETag", "no size"],
)
def test_a_list_that_is_none(instead: bytes, of: bytes | None, open_node: OpenNode) -> None:
    def spoil(asked: Asked, reply: Reply) -> Reply:
        return replace(reply, body=instead if of is None else reply.body.replace(of, instead))

    with ScriptedWeb(careless(HELD, spoil)) as server:
        node = open_node(endpoint=server.url, bucket="bucket")
        assert fault_of(lambda: finding(node)).fault.code is FaultCode.QUERY_FAILED


@pytest.mark.parametrize("work", [storing, finding])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no length", "yes to all"],
)
def test_who_is_no_s3_server(work: Callable[[S3Node], None], answer: bytes, open_node: OpenNode) -> None:
    with RawWeb(lambda connected: connected.sendall(answer)) as server:
        fault = fault_of(lambda: work(open_node(endpoint=server.url))).fault
    assert fault.code is FaultCode.QUERY_FAILED


# --- slow ---

BRIEF = {"connectSeconds": 1, "networkSeconds": 1}


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nX-One: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 2),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["one header", "headers", "continue", "body", "chunks"],
)
def test_an_answer_that_trickles_is_given_up(
    first: bytes, again: bytes, open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adit.dicom.s3.client._TRIES", 1)

    def trickle(connected: socket.socket) -> None:
        connected.sendall(first)
        while True:
            connected.sendall(again)
            time.sleep(0.3)

    with RawWeb(trickle) as server:
        fault = fault_of(lambda: finding(open_node(endpoint=server.url, timeouts=BRIEF))).fault
    assert fault.code is FaultCode.NODE_TIMEOUT


def test_an_object_that_trickles_is_given_up(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adit.dicom.s3.client._TRIES", 1)
    held = HELD["0.dcm"]

    def slowly(asked: Asked, reply: Reply) -> Reply:
        if reply.body != held:
            return reply
        return replace(reply, dripping=lambda: not threading.Event().wait(0.3))

    with ScriptedWeb(careless(HELD, slowly)) as server:
        fault = fault_of(lambda: finding(open_node(bucket="bucket", endpoint=server.url, timeouts=BRIEF))).fault
    assert fault.code is FaultCode.NODE_TIMEOUT


def test_what_is_not_taken_for_longer_than_a_connection_may_need_is_waited_for(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adit.dicom.s3.client._TRIES", 1)
    content = bytes(32 * 2**20)  # more than fits between the two

    def answer(connected: socket.socket) -> None:
        time.sleep(2.5)
        taken = 0
        while taken < len(content) - 2**16:  # some came with the headers
            taken += len(connected.recv(2**16))
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connected.recv(2**16)

    with RawWeb(answer) as server:
        node = open_node(endpoint=server.url, timeouts={"connectSeconds": 1, "networkSeconds": 60})
        assert node._bucket.put("key", content, checksum_of(content), {}, "1.2")


# --- busy ---


@EVERYTHING
def test_a_busy_server_is_asked_again_and_then_it_is_told(
    work: Callable[[S3Node], None], open_node: OpenNode, proxy: BucketProxy
) -> None:
    proxy.react = lambda method, path: SLOW_DOWN
    fault = fault_of(lambda: work(open_node())).fault
    assert (fault.code, fault.sop_instance_uid) == (FaultCode.OUT_OF_RESOURCES, None)


def test_what_is_busy_in_passing_is_not_noticed(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    study = samples.ct_study(2)
    proxy.react_once("PUT", SLOW_DOWN)
    store(open_node(), study.instances)
    proxy.react_once("GET", SLOW_DOWN, SLOW_DOWN)
    assert fetch(open_node(), study)[0] == whole(study)


def test_a_busy_server_in_the_midst_of_an_upload_leaves_nothing(
    bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    proxy.react = lambda method, path: SLOW_DOWN if "partNumber=3" in path else Reaction()
    assert fault_of(lambda: open_node().open_store(()).store(big())).fault.code is FaultCode.OUT_OF_RESOURCES
    assert bucket.holds() == set()
    wait_until(lambda: bucket.uploads() == [], "the upload is abandoned")
    proxy.react = lambda method, path: Reaction()
    open_node().open_store(()).store(big())
    assert len(bucket.holds()) == 1


# --- refused ---


@EVERYTHING
@pytest.mark.parametrize("user", ["stranger", "forger"])
def test_wrong_credentials_are_a_matter_of_configuration(
    user: str, work: Callable[[S3Node], None], open_node: OpenNode
) -> None:
    assert fault_of(lambda: work(open_node(user))).fault.code is FaultCode.PERMISSION_DENIED
    probe = open_node(user).probe()
    assert not probe.reachable
    assert probe.fault is not None
    assert probe.fault.code is FaultCode.PERMISSION_DENIED


def test_who_may_only_read_reads(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(2)
    fill(bucket, study)
    assert fetch(open_node("reader"), study)[0] == whole(study)
    assert fault_of(lambda: storing(open_node("reader"))).fault.code is FaultCode.PERMISSION_DENIED
    assert open_node("reader").probe().services == ("Read",)
    assert open_node().probe().services == ("Read", "Write")
    assert bucket.uploads() == []


@pytest.mark.parametrize("lacking", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_secret_that_lacks_a_key_is_named(lacking: str, open_node: OpenNode, secrets: Path) -> None:
    (secrets / "owner" / lacking).unlink()
    fault = fault_of(lambda: storing(open_node())).fault
    assert fault.code is FaultCode.SECRET_MISSING
    assert lacking in fault.message


def test_without_secret_and_identity_nothing_is_asked(
    open_node: OpenNode, proxy: BucketProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from adit.dicom.s3 import client

    client._session.cache_clear()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    fault = fault_of(lambda: storing(open_node(credentials=None))).fault
    assert fault.code is FaultCode.SECRET_MISSING
    assert proxy.requests == []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret_access_key)
    client._session.cache_clear()
    storing(open_node(credentials=None))


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (400, "ExpiredToken", FaultCode.PERMISSION_DENIED),
        (403, "RequestTimeTooSkewed", FaultCode.PERMISSION_DENIED),
        (429, "TooManyRequests", FaultCode.OUT_OF_RESOURCES),
        (500, "InternalError", FaultCode.STORE_FAILED),
        (501, "NotImplemented", FaultCode.SERVICE_NOT_OFFERED),
        (507, "XMinioStorageFull", FaultCode.DISK_FULL),
        (400, "BadDigest", FaultCode.STORE_FAILED),
        (413, "EntityTooLarge", FaultCode.INSTANCE_REFUSED),
        (409, "ConditionalRequestConflict", FaultCode.STORE_FAILED),
        (400, "Zebra^Zoe <p>", FaultCode.SERVICE_NOT_OFFERED),
    ],
)
def test_every_refusal_has_its_meaning(
    status: int, code: str, told: FaultCode, open_node: OpenNode, proxy: BucketProxy
) -> None:
    refusal = Reaction(refuse=(status, code.replace("<", "&lt;")))
    proxy.react = lambda method, path: refusal if method == "PUT" else Reaction()
    fault = fault_of(lambda: storing(open_node())).fault
    assert fault.code is told
    assert "Zebra" not in str(fault)


# --- gone ---


@EVERYTHING
def test_a_bucket_that_is_gone_is_said_to_be(work: Callable[[S3Node], None], open_node: OpenNode) -> None:
    assert fault_of(lambda: work(open_node(bucket="never-made"))).fault.code is FaultCode.FOLDER_MISSING


@pytest.mark.parametrize("told", [FaultCode.FOLDER_MISSING, FaultCode.PERMISSION_DENIED])
def test_a_write_that_is_refused_tells_as_the_probe_does_whether_the_bucket_is_there(
    told: FaultCode, open_node: OpenNode, proxy: BucketProxy
) -> None:
    """A server refuses (403) who has rights on some buckets only what it would write to one that is not there."""
    listing = Reaction(refuse=(404, "NoSuchBucket")) if told is FaultCode.FOLDER_MISSING else Reaction()
    refused = Reaction(refuse=(403, "AccessDenied"))
    proxy.react = lambda method, path: listing if method == "GET" and "list-type" in path else refused
    assert fault_of(lambda: storing(open_node())).fault.code is told
    assert (told is FaultCode.FOLDER_MISSING) == (open_node().probe().fault is not None)


def test_a_probe_of_a_bucket_that_is_not_there_tells_the_cure_and_makes_none(
    bucket: Bucket, open_node: OpenNode
) -> None:
    absent = "never-made-by-a-probe"
    for _ in range(2):  # the first must not have made it
        probe = open_node(bucket=absent).probe()
        assert (probe.reachable, probe.services) == (False, ())
        assert probe.fault is not None
        assert probe.fault.code is FaultCode.FOLDER_MISSING
        assert "s3.bucket" in probe.fault.cure
    assert absent not in {each["Name"] for each in bucket.client.list_buckets()["Buckets"]}


@EVERYTHING
def test_a_server_that_is_gone_is_unreachable(work: Callable[[S3Node], None], open_node: OpenNode) -> None:
    node = open_node(endpoint=f"http://127.0.0.1:{free_port()}")
    assert fault_of(lambda: work(node)).fault.code is FaultCode.NODE_UNREACHABLE


def test_a_bucket_that_goes_away_meanwhile(bucket: Bucket, open_node: OpenNode) -> None:
    channel = open_node().open_store(())
    channel.store(given(samples.instance("a")))
    bucket.remove()
    assert fault_of(lambda: channel.store(given(samples.instance("b")))).fault.code is FaultCode.FOLDER_MISSING


# --- broken off ---


@EVERYTHING
def test_a_cut_connection_is_transient(work: Callable[[S3Node], None], open_node: OpenNode, proxy: BucketProxy) -> None:
    proxy.react = lambda method, path: Reaction(drop=True)
    assert fault_of(lambda: work(open_node())).fault.code is FaultCode.ASSOCIATION_ABORTED


@pytest.mark.parametrize("make", [lambda: given(samples.instance("a")), big], ids=["small", "big"])
def test_a_write_whose_answer_was_lost_is_recognised(
    make: Callable[[], object], bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    """It was done: asked again, the server says that the key is taken, and what is there is ours."""
    drop = Reaction(drop=True)
    dropped: list[str] = []

    def react(method: str, path: str) -> Reaction:
        last = (method, "uploadId" in path) in (("PUT", False), ("POST", True))
        if last and not dropped:
            dropped.append(path)
            return drop
        return Reaction()

    proxy.react = react
    stored = open_node().open_store(()).store(make())  # type: ignore[arg-type]
    assert dropped
    assert len(bucket.holds()) == 1
    assert [proof.present for proof in open_node(proof="Content").verify("", [stored])] == [True]
    wait_until(lambda: bucket.uploads() == [], "no upload is left")


def test_half_an_object_is_asked_for_from_where_it_broke_off(
    bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    study = samples.Study((samples.instance("big", size=3600),))
    fill(bucket, study)
    node = open_node()
    finding(node)
    proxy.react_once("GET", Reaction(body_bytes=5_000_000), Reaction(body_bytes=1), Reaction(body_bytes=3_000_000))
    assert fetch(node, study)[0] == whole(study)


def test_half_an_object_again_and_again_is_never_delivered(
    bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    study = samples.ct_study(1)
    fill(bucket, study)
    node = open_node()
    finding(node)
    proxy.react = lambda method, path: Reaction(body_bytes=0)
    delivered: list[object] = []
    fault = fault_of(lambda: node.fetch(Wanted(study.study_instance_uid), delivered.append)).fault
    assert fault.code is FaultCode.ASSOCIATION_ABORTED
    assert delivered == []


# --- silent ---


def test_a_silent_server_is_given_up(open_node: OpenNode, proxy: BucketProxy) -> None:
    released = threading.Event()
    proxy.react = lambda method, path: Reaction(before=lambda: released.wait(90))
    try:
        node = open_node(timeouts={"connectSeconds": 1, "networkSeconds": 1})
        assert fault_of(lambda: finding(node)).fault.code is FaultCode.NODE_TIMEOUT
    finally:
        released.set()


@EVERYTHING
def test_an_interrupt_waits_for_no_server(
    work: Callable[[S3Node], None], bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    asked, released = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        released.wait(90)

    proxy.react = lambda method, path: Reaction(before=hang)
    node = open_node(timeouts={"connectSeconds": 5, "networkSeconds": 600})
    ended: list[FaultCode] = []
    thread = threading.Thread(target=lambda: ended.append(fault_of(lambda: work(node)).fault.code))
    thread.start()
    try:
        assert asked.wait(90)
        begun = time.monotonic()
        node.interrupt()
        thread.join(90)
        assert not thread.is_alive()
        assert time.monotonic() - begun < 60
        assert ended == [FaultCode.INTERRUPTED]
        assert fault_of(lambda: work(node)).fault.code is FaultCode.INTERRUPTED
    finally:
        released.set()


def test_an_interrupt_ends_a_fetch_and_frees_what_was_fetched_ahead(
    bucket: Bucket, open_node: OpenNode, tmp_path: Path
) -> None:
    study = samples.Study(tuple(samples.instance("s", study="s", number=n, size=1600) for n in range(1, 6)))
    fill(bucket, study)
    node = open_node(share=Share(associations=4))

    def deliver(instance: Instance) -> None:
        instance.close()
        node.interrupt()

    fault = fault_of(lambda: node.fetch(Wanted(study.study_instance_uid), deliver)).fault
    assert fault.code is FaultCode.INTERRUPTED
    assert list((tmp_path / "spool").iterdir()) == []


# --- left over ---


def test_uploads_that_a_killed_attempt_left_are_cleared_away(bucket: Bucket, open_node: OpenNode) -> None:
    node = open_node()
    for key in (f"{JOB_KEY}/1.dcm", "somebody/else"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    node._bucket.clear_uploads(f"{JOB_KEY}/", 3600)
    assert len(bucket.uploads()) == 2, "they are young, and may be another attempt's"
    node._bucket.clear_uploads(f"{JOB_KEY}/", -60)
    wait_until(lambda: bucket.uploads() == ["somebody/else"], "ours is gone")


# --- TLS ---


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_tls_with_an_authority_of_ones_own(authority: Certificates, tmp_path: Path, secrets: Path) -> None:
    server = authority.issue("bucket")
    (secrets / "right").mkdir()
    (secrets / "right" / "ca.crt").write_bytes(authority.ca.read_bytes())
    (secrets / "wrong").mkdir()
    (secrets / "wrong" / "ca.crt").write_bytes(Certificates(tmp_path, "other").ca.read_bytes())
    (secrets / "empty").mkdir()
    (secrets / "garbage").mkdir()
    (secrets / "garbage" / "ca.crt").write_text("no certificate")
    with SeaweedFS(tmp_path, tls=server) as seaweedfs:
        bucket = seaweedfs.bucket()

        def node(tls: str | None, host: str = "127.0.0.1") -> S3Node:
            spec = S3.model_validate(
                {
                    "bucket": bucket.name,
                    "endpoint": f"https://{host}:{seaweedfs.port}",
                    "credentials": {"secretName": "owner"},
                    **({} if tls is None else {"tls": {"secretName": tls}}),
                }
            )
            return S3Node("lake", spec, Share(), secrets=secrets, job=JOB)

        storing(node("right"))
        assert len(bucket.holds()) == 1
        for secret, code in {
            None: FaultCode.TLS_FAILED,
            "wrong": FaultCode.TLS_FAILED,
            "garbage": FaultCode.TLS_FAILED,
            "empty": FaultCode.SECRET_MISSING,
            "nowhere": FaultCode.SECRET_MISSING,
        }.items():
            assert fault_of(lambda secret=secret: storing(node(secret))).fault.code is code, secret  # type: ignore[misc]
        bucket.client.close()


def test_a_server_whose_certificate_has_expired_is_not_trusted(
    authority: Certificates, secrets: Path, open_node: OpenNode
) -> None:
    (secrets / "trusted").mkdir()
    (secrets / "trusted" / "ca.crt").write_bytes(authority.ca.read_bytes())
    with ScriptedWeb(lambda asked: Reply(), tls=authority.issue("old", days=-1)) as web:
        fault = fault_of(lambda: storing(open_node(endpoint=web.url, tls={"secretName": "trusted"}))).fault
    assert fault.code is FaultCode.TLS_FAILED
    assert "expired" in fault.message
    assert web.asked == []


def test_tls_towards_a_server_that_has_none(seaweedfs: SeaweedFS, open_node: OpenNode) -> None:
    node = open_node(endpoint=f"https://127.0.0.1:{seaweedfs.port}")
    assert fault_of(lambda: storing(node)).fault.code is FaultCode.TLS_FAILED


def test_a_node_without_job_is_no_destination(open_node: OpenNode) -> None:
    node = S3Node("lake", S3.model_validate({"bucket": "abc"}), Share())
    with pytest.raises(ValueError, match="lake"):
        node.open_store(())
    assert isinstance(JOB, JobFolder)
