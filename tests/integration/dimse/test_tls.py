"""DIMSE over TLS with real peers. Every way in which it can be wrong has a fault that says so and names its cure."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from pydicom import dcmread

from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.tls import client_context
from adit.dicom.node import Level, Query, Wanted
from adit.model.dicom_node import Dimse
from adit.model.outcome import Fault, FaultCode
from tests.integration.dimse.nodes import Basket, as_instance, contents, ct_scp, digest, node
from tests.integration.dimse.nodes import Peer as AnyPeer
from tests.integration.dimse.raw_peer import RawPeer
from tests.peers import Certificates, Orthanc, Receiver, Storescp
from tests.peers.server_process import free_port
from tests.samples import ct_study, multiframe

STUDY = ct_study(2)
TLS: dict[str, Any] = {"tls": {"secretName": "pacs-tls"}}
KEPT = ("ca.crt", "tls.crt", "tls.key")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What another authority issued."""
    return Certificates(tmp_path_factory.mktemp("stranger"), "other-ca").issue("stranger")


@pytest.fixture(scope="module")
def served(certificates: Certificates) -> Path:
    return certificates.issue("server")


@pytest.fixture(scope="module")
def ours(certificates: Certificates) -> Path:
    return certificates.issue("client")


@pytest.fixture(scope="module")
def secrets(ours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    copytree(ours, folder / "pacs-tls")
    return folder


@pytest.fixture(scope="module")
def orthanc(certificates: Certificates, served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    settings = certificates.orthanc_settings(served, clients_too=True)
    with Orthanc(tmp_path_factory.mktemp("orthanc"), **settings) as peer:
        peer.upload(*STUDY.files())
        yield peer


@pytest.fixture(scope="module")
def storescp(certificates: Certificates, served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storescp]:
    with Storescp(tmp_path_factory.mktemp("storescp"), *certificates.dcmtk_flags(served)) as peer:
        yield peer


@pytest.fixture(scope="module")
def receiver(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver"), tls=served) as peer:
        yield peer


@pytest.fixture(params=["orthanc", "storescp", "receiver"])
def secure(request: pytest.FixtureRequest) -> AnyPeer:
    """A peer with TLS that wants to know who we are."""
    peer: AnyPeer = request.getfixturevalue(request.param)
    return peer


def secret(tmp_path: Path, **files: Path) -> Path:
    """A folder of secrets whose one Secret has each named file from another folder, such as `ca=served`."""
    folder = tmp_path / "secrets" / "pacs-tls"
    folder.mkdir(parents=True)
    for name, origin in files.items():
        for file in KEPT:
            if file.startswith(name):
                (folder / file).write_bytes((origin / file).read_bytes())
    return tmp_path / "secrets"


def fault_of(peer: AnyPeer, secrets: Path | None, **dimse: Any) -> Fault:
    """What a probe says; its cure must say what to do about certificates, ports or Secrets."""
    probe = node(peer, secrets=secrets, **(TLS | dimse)).probe()
    assert not probe.reachable
    assert probe.fault is not None
    assert probe.fault.node == "peer"
    assert probe.fault.cure
    return probe.fault


def test_both_sides_show_their_certificates(secure: AnyPeer, secrets: Path) -> None:
    assert node(secure, secrets=secrets, **TLS).probe().reachable


def test_a_study_is_found_and_fetched_over_tls(orthanc: Orthanc, secrets: Path) -> None:
    source = node(orthanc, secrets=secrets, **TLS)
    assert len(list(source.find(Query(Level.STUDY)))) == 1
    basket = Basket()
    report = source.fetch(Wanted(STUDY.study_instance_uid), basket)
    assert (report.completed, report.faults) == (2, ())
    assert basket.content == contents(STUDY.instances)


def test_objects_are_stored_over_tls_bit_for_bit(storescp: Storescp, secrets: Path) -> None:
    objects = [*STUDY.instances, multiframe(frames=10, size=512)]
    with closing(
        node(storescp, secrets=secrets, **TLS).open_store({str(each.SOPClassUID) for each in objects})
    ) as road:
        receipts = [road.store(as_instance(each)) for each in objects]
    assert [each.sha256 for each in receipts] == [digest(content) for content in contents(objects).values()]
    arrived = {str(each.SOPInstanceUID): each for each in map(dcmread, storescp.files())}
    assert {uid: each.PixelData for uid, each in arrived.items()} == {
        str(each.SOPInstanceUID): each.PixelData for each in objects
    }


def test_the_certificate_must_bear_the_name_asked_for(secure: AnyPeer, secrets: Path) -> None:
    named: dict[str, Any] = {"tls": {"secretName": "pacs-tls", "serverName": "localhost"}}
    assert node(secure, secrets=secrets, **named).probe().reachable
    fault = fault_of(secure, secrets, tls={"secretName": "pacs-tls", "serverName": "elsewhere.example.org"})
    assert fault.code is FaultCode.TLS_FAILED
    assert "elsewhere.example.org" in fault.message
    assert "serverName" in fault.cure


def test_the_peers_own_certificate_may_be_the_one_that_is_trusted(
    secure: AnyPeer, served: Path, ours: Path, tmp_path: Path
) -> None:
    secrets = secret(tmp_path, tls=ours)
    (secrets / "pacs-tls" / "ca.crt").write_bytes((served / "tls.crt").read_bytes())
    assert node(secure, secrets=secrets, **TLS).probe().reachable


def test_a_peer_of_another_authority_is_not_trusted(
    secure: AnyPeer, stranger: Path, ours: Path, tmp_path: Path
) -> None:
    fault = fault_of(secure, secret(tmp_path, ca=stranger, tls=ours))
    assert fault.code is FaultCode.TLS_FAILED
    assert "authority that we do not trust" in fault.message
    assert "ca.crt" in fault.cure


def test_a_peer_whose_certificate_has_expired_is_not_trusted(
    certificates: Certificates, secrets: Path, tmp_path: Path
) -> None:
    with Storescp(tmp_path, *certificates.dcmtk_flags(certificates.issue("old-server", days=-1))) as peer:
        fault = fault_of(peer, secrets)
    assert fault.code is FaultCode.TLS_FAILED
    assert "expired" in fault.message
    assert "renewed" in fault.cure


def test_a_peer_that_wants_a_certificate_and_gets_none_says_so(secure: AnyPeer, ours: Path, tmp_path: Path) -> None:
    fault = fault_of(secure, secret(tmp_path, ca=ours))
    assert fault.code is FaultCode.TLS_FAILED
    assert "asks for a client certificate" in fault.message
    assert "tls.crt and tls.key" in fault.cure


def test_a_peer_that_does_not_trust_our_certificate_says_so(
    secure: AnyPeer, stranger: Path, ours: Path, tmp_path: Path
) -> None:
    fault = fault_of(secure, secret(tmp_path, ca=ours, tls=stranger))
    assert fault.code is FaultCode.TLS_FAILED
    assert "does not accept our certificate" in fault.message
    assert "tls.crt" in fault.cure


def test_a_peer_to_which_our_certificate_has_expired_says_so(
    secure: AnyPeer, certificates: Certificates, ours: Path, tmp_path: Path
) -> None:
    expired = certificates.issue(f"old-client-of-{secure.aet}", days=-1)
    fault = fault_of(secure, secret(tmp_path, ca=ours, tls=expired))
    assert fault.code is FaultCode.TLS_FAILED
    assert "our certificate has expired" in fault.message
    assert "Renew" in fault.cure


def test_a_peer_of_tls_1_2_says_it_within_the_handshake(served: Path, ours: Path, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(served / "ca.crt"))
    context.load_cert_chain(served / "tls.crt", served / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with RawPeer(lambda talk: context.wrap_socket(talk.socket, server_side=True).close()) as peer:
        fault = fault_of(peer, secret(tmp_path, ca=ours))
    assert fault.code is FaultCode.TLS_FAILED
    assert "client certificate" in fault.cure


@pytest.mark.parametrize("kind", ["orthanc", "storescp", "receiver", "scripted"])
def test_a_peer_without_tls_is_not_spoken_to(kind: str, secrets: Path, tmp_path: Path) -> None:
    made: dict[str, Any] = {"orthanc": Orthanc, "storescp": Storescp, "receiver": Receiver}
    with made[kind](tmp_path) if kind in made else ct_scp() as peer:
        fault = fault_of(peer, secrets)
    assert fault.code is FaultCode.TLS_FAILED
    assert "leave out `tls`" in fault.cure


def test_a_peer_with_tls_is_told_from_one_that_breaks_off(secure: AnyPeer) -> None:
    """We know of no TLS there, and speak in the open."""
    fault = fault_of(secure, None, tls=None)
    assert fault.code is FaultCode.TLS_FAILED
    assert "Give the node `tls`" in fault.cure


def test_a_peer_that_is_away_is_no_tls_fault(secrets: Path) -> None:
    class Away:
        aet, host, dicom_port = "AWAY", "127.0.0.1", free_port()

    assert fault_of(Away(), secrets).code is FaultCode.NODE_UNREACHABLE


@pytest.mark.parametrize("missing", ["ca.crt", "tls.crt", "tls.key"])
def test_a_secret_that_lacks_a_file_is_named(orthanc: Orthanc, secrets: Path, tmp_path: Path, missing: str) -> None:
    copytree(secrets / "pacs-tls", tmp_path / "pacs-tls")
    (tmp_path / "pacs-tls" / missing).unlink()
    assert fault_of(orthanc, tmp_path).code is FaultCode.SECRET_MISSING


def test_no_folder_of_secrets_and_no_secret_in_it_are_missing(orthanc: Orthanc, tmp_path: Path) -> None:
    assert fault_of(orthanc, None).code is FaultCode.SECRET_MISSING
    assert fault_of(orthanc, tmp_path).code is FaultCode.SECRET_MISSING


@pytest.mark.parametrize("broken", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_is_no_pem_is_a_tls_fault(orthanc: Orthanc, secrets: Path, tmp_path: Path, broken: str) -> None:
    copytree(secrets / "pacs-tls", tmp_path / "pacs-tls")
    (tmp_path / "pacs-tls" / broken).write_text("nothing of the kind")
    assert fault_of(orthanc, tmp_path).code is FaultCode.TLS_FAILED


def test_nothing_older_than_tls_1_2_is_offered(secrets: Path) -> None:
    dimse = Dimse.model_validate({"aeTitle": "A", "host": "localhost", "port": 104, **TLS})
    context = client_context(Peer("n", dimse), secrets)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
