"""What honest senders may expect of the receiver: every object as it was sent, acknowledged once it is safe."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.integration.dimse.nodes import as_instance, node
from tests.integration.receiver.hostile import Sender
from tests.peers import Certificates, Receiver
from tests.peers.dcmtk import scu
from tests.peers.server_process import wait_until
from tests.peers.small_disk import SmallDisk
from tests.samples import (
    PRIVATE_SOP_CLASS,
    compressed_files,
    ct_study,
    encoded,
    instance,
    multiframe,
    part10,
    private_study,
)

STUDY = ct_study(5, seed="receiving")


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    tmp = tmp_path_factory.mktemp("receiving")
    with Receiver(tmp, inbox=tmp / "inbox", free_bytes=0) as started:
        yield started


def inbox(receiver: Receiver) -> dict[str, bytes]:
    """Encoded data sets by SOP Instance UID, as they stand in the inbox."""
    return {str(each.SOPInstanceUID): data for each, data in kept(receiver)}


def kept(receiver: Receiver) -> list[tuple[Dataset, bytes]]:
    folder: Path = receiver._settings["inbox"]
    found: list[tuple[Dataset, bytes]] = []
    for path in sorted(folder.glob("*/*.dcm")):
        file = path.read_bytes()
        offset = 144 + int.from_bytes(file[140:144], "little")
        found.append((dcmread(path), file[offset:]))
    return found


def send(receiver: Receiver, *instances: Dataset) -> None:
    channel = node(receiver).open_store({str(each.SOPClassUID) for each in instances})
    for each in instances:
        channel.store(as_instance(each))
    channel.close()


def test_echo(receiver: Receiver) -> None:
    done = scu("echoscu", "-aec", receiver.aet, receiver.host, str(receiver.dicom_port))
    assert done.returncode == 0, done.stderr
    probe = node(receiver).probe()
    assert probe.reachable
    assert "Verification" in probe.services
    assert "Storage" in probe.services
    assert "StudyRootFind" not in probe.services


def test_objects_come_bit_for_bit(receiver: Receiver) -> None:
    send(receiver, *STUDY.instances)
    held = inbox(receiver)
    assert {uid: held[uid] for uid in STUDY.sop_instance_uids} == {
        str(each.SOPInstanceUID): encoded(each) for each in STUDY.instances
    }


def test_private_classes_and_every_transfer_syntax(receiver: Receiver) -> None:
    private = private_study(seed="receiving-private")
    odd = [
        instance(f"receiving-{syntax}", transfer_syntax=syntax)
        for syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian)
    ]
    compressed = [dcmread(path) for path in compressed_files()]
    send(receiver, *private.instances, *odd, *compressed)
    held = {str(each.SOPInstanceUID): (each, data) for each, data in kept(receiver)}
    for sent in (*private.instances, *odd, *compressed):
        got, data = held[str(sent.SOPInstanceUID)]
        assert data == encoded(sent), sent.file_meta.TransferSyntaxUID
        assert got.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert got.file_meta.MediaStorageSOPClassUID == sent.SOPClassUID
    assert PRIVATE_SOP_CLASS in {str(each.SOPClassUID) for each, _ in held.values()}


def test_dcmtk_sends(receiver: Receiver, tmp_path: Path) -> None:
    study = ct_study(3, seed="storescu", size=300)
    study.write(tmp_path / "files")
    where = (receiver.host, str(receiver.dicom_port))
    done = scu("storescu", "-aec", receiver.aet, "+sd", *where, str(tmp_path / "files"))
    assert done.returncode == 0, done.stderr
    held = inbox(receiver)
    assert study.sop_instance_uids <= set(held)


def test_sent_twice_is_there_once_and_no_content_is_overwritten(receiver: Receiver) -> None:
    [first] = ct_study(1, seed="twice").instances
    other = dcmread_copy(first)
    other.SeriesDescription = "Another"
    send(receiver, first)
    send(receiver, first, other)
    for _ in range(2):
        send(receiver, first, other)
        same = [data for each, data in kept(receiver) if each.SOPInstanceUID == first.SOPInstanceUID]
        assert sorted(same) == sorted([encoded(first), encoded(other)])


def test_whoever_routes_the_inbox_may_take_whole_studies_away(receiver: Receiver) -> None:
    [one, two] = ct_study(2, seed="routed").instances
    folder: Path = receiver._settings["inbox"]
    with Sender(receiver).associate() as sender:
        for each in (one, two):
            sender.store(str(each.SOPInstanceUID), encoded(each))
            assert sender.status() == 0
            assert inbox(receiver)[str(each.SOPInstanceUID)] == encoded(each)
            rmtree(folder / str(each.StudyInstanceUID))
        sender.release()


def dcmread_copy(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(part10(dataset)))


def test_a_header_of_a_megabyte_before_the_uids(receiver: Receiver) -> None:
    [big] = ct_study(1, seed="big-header").instances
    block = big.private_block(0x0009, "ADIT TEST", create=True)
    block.add_new(0x01, "OB", bytes(2**20))
    send(receiver, big)
    assert inbox(receiver)[str(big.SOPInstanceUID)] == encoded(big)


def test_several_associations_at_once_and_memory_stays_flat(receiver: Receiver) -> None:
    before = receiver.memory()
    objects = [multiframe(40, 512, seed=f"at-once-{number}") for number in range(6)]  # 20 MB each
    threads = [threading.Thread(target=send, args=(receiver, each)) for each in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    held = inbox(receiver)
    assert all(held[str(each.SOPInstanceUID)] == encoded(each) for each in objects)
    assert receiver.memory() - before < 60 * 2**20


def test_without_an_inbox_nothing_is_swallowed(tmp_path: Path) -> None:
    with Receiver(tmp_path) as plain, Sender(plain).associate() as sender:
        [one] = ct_study(1, seed="unclaimed").instances
        sender.store(str(one.SOPInstanceUID), encoded(one))
        assert sender.status() == 0xA700
        sender.store(str(one.SOPInstanceUID), encoded(one))
        assert sender.status() == 0xA700
        sender.release()
        assert plain.fates("unclaimed") == 2
        wait_until(lambda: plain.events("association ended") != [], "it is told")
        [ended] = plain.events("association ended")
        assert (ended["calling"], ended["result"], ended["objects"]) == ("HOSTILE", "released", {"unclaimed": 2})
        assert str(one.SOPInstanceUID) not in plain.log.read_text()
        assert str(one.StudyInstanceUID) not in plain.log.read_text()


def test_a_stop_lets_an_open_association_finish(tmp_path: Path) -> None:
    [one, two] = ct_study(2, seed="drain").instances
    with Receiver(tmp_path, inbox=tmp_path / "inbox", free_bytes=0, drain_seconds=30) as draining:
        with Sender(draining).associate() as sender, Sender(draining) as waiting:
            sender.store(str(one.SOPInstanceUID), encoded(one))
            assert sender.status() == 0
            draining.signal(signal.SIGTERM)
            assert waiting.ended() == "closed"
            wait_until(lambda: draining.ready() in ("draining", None), "it is not ready any more")
            sender.store(str(two.SOPInstanceUID), encoded(two))
            assert sender.status() == 0
            sender.release()
        assert draining.process.wait() == 0
        assert set(inbox(draining)) == {str(one.SOPInstanceUID), str(two.SOPInstanceUID)}


def test_a_stop_does_not_wait_for_an_association_that_says_nothing(tmp_path: Path) -> None:
    with Receiver(tmp_path, drain_seconds=1) as draining, Sender(draining).associate() as sender:
        draining.signal(signal.SIGTERM)
        assert sender.ended() in ("aborted", "closed")
        assert draining.process.wait() == 0


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Its standard input is at its end already."""
    orphan = Receiver(tmp_path, ends_with_parent="true")
    with contextlib.suppress(AssertionError):  # it may be gone before it ever answers
        orphan.start()
    assert orphan.process.wait() == 0


@pytest.mark.parametrize("clients_too", [False, True])
def test_tls(tmp_path: Path, clients_too: bool) -> None:
    certificates = Certificates(tmp_path)
    folder = certificates.issue("receiver")
    if not clients_too:
        (folder / "ca.crt").unlink()
    client = tmp_path / "secrets"
    client.mkdir()
    (client / "mine").symlink_to(certificates.issue("client"))
    (client / "nameless").mkdir()
    (client / "nameless" / "ca.crt").write_bytes(certificates.ca.read_bytes())
    with Receiver(tmp_path, tls=folder) as secure:
        known = node(secure, secrets=client, tls={"secretName": "mine"}).probe()
        nameless = node(secure, secrets=client, tls={"secretName": "nameless"}).probe()
        assert known.reachable
        assert nameless.reachable is not clients_too
        assert not node(secure).probe().reachable
        assert secure.ready() == "ok"


def reasons(receiver: Receiver) -> set[str]:
    return {each["reason"] for each in receiver.events("no TLS was agreed")}


def test_tls_that_cannot_be_agreed_on_is_told_with_its_reason(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "expired").symlink_to(certificates.issue("client", days=-1))
    with Receiver(tmp_path, tls=certificates.issue("receiver")) as secure:
        assert not node(secure, secrets=secrets, tls={"secretName": "expired"}).probe().reachable
        with Sender(secure) as scanner:
            scanner.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_until(lambda: "HTTP_REQUEST" in reasons(secure), "it is told")
        assert "CERTIFICATE_VERIFY_FAILED: certificate has expired" in reasons(secure)
        assert secure.metric("adit_receiver_connections_total", result="tls-failed") >= 2


def test_renewed_certificates_count_without_a_restart(tmp_path: Path) -> None:
    old, new = Certificates(tmp_path, "old-ca"), Certificates(tmp_path, "new-ca")
    served = old.issue("receiver")
    for name, authority in (("old", old), ("new", new)):
        (tmp_path / "secrets" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).symlink_to(authority.issue("client"))

    def reached_by(name: str) -> bool:
        time.sleep(0.25)  # a probe's processor time; changed files are looked for every few seconds only
        return node(secure, secrets=tmp_path / "secrets", tls={"secretName": name}).probe().reachable

    with Receiver(tmp_path, tls=served) as secure:
        assert (reached_by("old"), reached_by("new")) == (True, False)
        (served / "tls.key").write_text("half")  # somebody is still at it
        wait_until(
            lambda: secure.events("certificates cannot be read") != [] or not reached_by("old"), "it was noticed"
        )
        assert reached_by("old")
        renewed = new.issue("renewed")
        for file in ("ca.crt", "tls.key", "tls.crt"):
            (served / file).write_bytes((renewed / file).read_bytes())
        wait_until(lambda: reached_by("new"), "the new ones are used")
        assert not reached_by("old")


def test_who_may_call(tmp_path: Path) -> None:
    with Receiver(tmp_path, callers="PACS1,PACS2", aet="ADIT_1") as choosy:
        assert node(choosy, calling_ae_title="PACS2").probe().reachable
        stranger = node(choosy, calling_ae_title="PACS3").probe()
        assert "calling AE title not recognized" in str(stranger.fault)
        misled = node(choosy, ae_title="OTHER", calling_ae_title="PACS1").probe()
        assert "called AE title not recognized" in str(misled.fault)
        wait_until(lambda: len(rejected(choosy)) == 2, "both are in its log")
        assert rejected(choosy) == {("PACS3", "ADIT_1", "calling-ae-title"), ("PACS1", "OTHER", "called-ae-title")}


def rejected(receiver: Receiver) -> set[tuple[str, str, str]]:
    """Who called whom, and why in vain, as its log has it."""
    ended = receiver.events("association ended")
    return {(each["calling"], each["called"], each["reason"]) for each in ended if each["result"] == "rejected"}


def test_the_longest_pdu_that_it_asks_for(tmp_path: Path) -> None:
    """A sender keeps to it, and all comes whole in the small pieces."""
    with Receiver(tmp_path, pdu_bytes=4096, inbox=tmp_path / "inbox", free_bytes=0) as careful:
        assert node(careful).probe().detail["maximum PDU length"] == "4096"
        [one] = ct_study(1, seed="pieces", size=200).instances
        send(careful, one)
        assert inbox(careful) == {str(one.SOPInstanceUID): encoded(one)}


def test_from_where_it_is_called(tmp_path: Path) -> None:
    with Receiver(tmp_path, networks="10.0.0.0/8, 192.168.0.0/16") as choosy, Sender(choosy) as stranger:
        assert stranger.ended() == "closed"
        assert choosy.metric("adit_receiver_connections_total", result="forbidden") >= 1


def test_no_more_associations_than_it_may_have(tmp_path: Path) -> None:
    with Receiver(tmp_path, associations=2) as small:
        with Sender(small).associate(), Sender(small).associate():
            fault = node(small).probe().fault
            assert fault is not None
            assert fault.code == "AssociationRejectedTransient"
            assert "local limit exceeded" in fault.message
        wait_until(lambda: node(small).probe().reachable, "a place is free again")


@pytest.mark.parametrize(
    ("lack", "word"),
    [({"memory_bytes": 1}, "memory"), ({"memory_limit": 2}, "memory"), ({"free_bytes": 2**60}, "disk")],
)
def test_no_association_while_there_is_no_room(tmp_path: Path, lack: dict[str, Any], word: str) -> None:
    with Receiver(tmp_path, inbox=tmp_path / "inbox", **lack) as full:
        fault = node(full).probe().fault
        assert fault is not None
        assert "temporary congestion" in fault.message
        assert full.ready() == word
        assert {each["lacking"] for each in full.events("there is no room for associations")} == {word}


def test_an_inbox_without_room_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    objects = [multiframe(2, 512, seed=f"full-{number}") for number in range(4)]  # 1 MB each
    with SmallDisk(tmp_path, 2 * 2**20) as disk, Receiver(tmp_path, inbox=disk.path / "inbox", free_bytes=0) as full:
        with Sender(full).associate() as sender:
            statuses = []
            for each in objects:
                sender.store(str(each.SOPInstanceUID), encoded(each))
                statuses.append(sender.status())
        assert 0xA700 in statuses
        assert len(kept(full)) == statuses.count(0)
        assert list((disk.path / "inbox" / ".unfinished").iterdir()) == []
        full.kill()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("networks", "ten"), ("associations", "many"), ("pdu_bytes", "1"), ("tls", "/nowhere"), ("listen", "nowhere")],
)
def test_a_wrong_environment_is_told(tmp_path: Path, variable: str, value: str) -> None:
    wrong: dict[str, Any] = {variable: value}
    with pytest.raises(AssertionError, match="the server ended with code 2") as raised:
        Receiver(tmp_path, **wrong).start()
    assert "wrong environment" in str(raised.value) or "cannot start" in str(raised.value)


def test_while_the_ledger_is_away_nothing_is_swallowed(tmp_path: Path) -> None:
    [one] = ct_study(1, seed="ledger-away").instances
    away = "postgresql://nobody@127.0.0.1:1/adit"
    with Receiver(tmp_path, database_url=away) as cut_off, Sender(cut_off, 30).associate() as sender:
        sender.store(str(one.SOPInstanceUID), encoded(one))
        assert sender.status() == 0xA700
        assert cut_off.fates("ledger-away") == 1


def test_it_is_not_ready_before_the_ledger_has_answered(tmp_path: Path, receiver_url: str, worker_url: str) -> None:
    for wrong in ("postgresql://nobody@127.0.0.1:1/adit", worker_url):  # nobody there; a login without the right
        with Receiver(tmp_path, database_url=wrong) as cut_off:
            assert cut_off.ready() == "ledger"
            wait_until(lambda: bool(cut_off.events("the ledger does not answer")), "it says so")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ADIT_RECEIVER_DATABASE_URL").write_text(receiver_url + "\n")
    with Receiver(tmp_path, environment={"ADIT_CREDENTIALS": str(credentials)}) as right:
        wait_until(lambda: right.ready() == "ok", "the ledger has answered")


def test_what_a_dead_receiver_left_unfinished_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    unfinished = tmp_path / "inbox" / ".unfinished"
    unfinished.mkdir(parents=True)
    dead, others = unfinished / "dead", unfinished / "others"
    for each in (dead, others):
        each.write_bytes(b"half")
    os.utime(dead, (0, 0))
    with Receiver(tmp_path, inbox=tmp_path / "inbox", free_bytes=0):
        assert list(unfinished.iterdir()) == [others]


def test_what_no_mailbox_is_open_for_goes_to_the_inbox_where_there_is_one(tmp_path: Path, receiver_url: str) -> None:
    [one] = ct_study(1, seed="inbox").instances
    with Receiver(tmp_path, database_url=receiver_url, inbox=tmp_path / "inbox", free_bytes=0) as both:
        send(both, one)
        assert inbox(both) == {str(one.SOPInstanceUID): encoded(one)}
