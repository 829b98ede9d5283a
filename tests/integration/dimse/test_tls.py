"""DIMSE over TLS, by the secret's folder; every way in which it can be wrong is told apart from the network."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from adit.dicom.node import Level, Query
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import ct_scp, node
from tests.peers import Certificates, Orthanc, ScriptedSCP
from tests.samples import ct_study

STUDY = ct_study(2)
TLS = {"tls": {"secretName": "pacs-tls"}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(certificates: Certificates) -> Path:
    return certificates.issue("server")


@pytest.fixture(scope="module")
def secrets(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    copytree(certificates.issue("client"), folder / "pacs-tls")
    return folder


@pytest.fixture(scope="module")
def orthanc(certificates: Certificates, served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    settings = certificates.orthanc_settings(served, clients_too=True)
    with Orthanc(tmp_path_factory.mktemp("orthanc"), **settings) as peer:
        peer.upload(*STUDY.files())
        yield peer


def studies(peer: Orthanc | ScriptedSCP, secrets: Path | None, **dimse: Any) -> int:
    return len(list(node(peer, secrets=secrets, **(TLS | dimse)).find(Query(Level.STUDY))))


def code_of(peer: Orthanc | ScriptedSCP, secrets: Path | None, **dimse: Any) -> FaultCode:
    with pytest.raises(TransferFault) as raised:
        studies(peer, secrets, **dimse)
    assert raised.value.fault.node == "peer"
    assert raised.value.fault.cure
    return raised.value.fault.code


def test_both_sides_show_their_certificates(orthanc: Orthanc, secrets: Path) -> None:
    assert studies(orthanc, secrets) == 1


def test_the_certificate_must_bear_the_name_asked_for(orthanc: Orthanc, secrets: Path) -> None:
    assert studies(orthanc, secrets, tls={"secretName": "pacs-tls", "serverName": "localhost"}) == 1
    wrong = {"secretName": "pacs-tls", "serverName": "elsewhere.example.org"}
    assert code_of(orthanc, secrets, tls=wrong) is FaultCode.TLS_FAILED


def test_a_peer_of_another_authority_is_not_trusted(orthanc: Orthanc, tmp_path: Path) -> None:
    copytree(Certificates(tmp_path, "other-ca").issue("stranger"), tmp_path / "pacs-tls")
    assert code_of(orthanc, tmp_path) is FaultCode.TLS_FAILED


def test_a_peer_without_tls_is_not_spoken_to(secrets: Path, tmp_path: Path) -> None:
    with ct_scp() as peer:
        timeouts = {"connect_seconds": 1, "acse_seconds": 1, "dimse_seconds": 1, "network_seconds": 1}
        assert code_of(peer, secrets, timeouts=timeouts) in (FaultCode.TLS_FAILED, FaultCode.NODE_UNREACHABLE)


@pytest.mark.parametrize("missing", ["ca.crt", "tls.crt", "tls.key"])
def test_a_secret_that_lacks_a_file_is_named(orthanc: Orthanc, secrets: Path, tmp_path: Path, missing: str) -> None:
    copytree(secrets / "pacs-tls", tmp_path / "pacs-tls")
    (tmp_path / "pacs-tls" / missing).unlink()
    assert code_of(orthanc, tmp_path) is FaultCode.SECRET_MISSING


def test_no_folder_of_secrets_and_no_secret_in_it_are_missing(orthanc: Orthanc, tmp_path: Path) -> None:
    assert code_of(orthanc, None) is FaultCode.SECRET_MISSING
    assert code_of(orthanc, tmp_path) is FaultCode.SECRET_MISSING


@pytest.mark.parametrize("broken", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_is_no_pem_is_a_tls_fault(orthanc: Orthanc, secrets: Path, tmp_path: Path, broken: str) -> None:
    copytree(secrets / "pacs-tls", tmp_path / "pacs-tls")
    (tmp_path / "pacs-tls" / broken).write_text("nothing of the kind")
    assert code_of(orthanc, tmp_path) is FaultCode.TLS_FAILED


def test_a_peer_that_wants_a_certificate_and_gets_none_is_a_tls_fault(
    orthanc: Orthanc, secrets: Path, tmp_path: Path
) -> None:
    copytree(secrets / "pacs-tls", tmp_path / "pacs-tls")
    for file in ("tls.crt", "tls.key"):
        (tmp_path / "pacs-tls" / file).unlink()
    assert code_of(orthanc, tmp_path) in (FaultCode.TLS_FAILED, FaultCode.ASSOCIATION_ABORTED)


def test_nothing_older_than_tls_1_2_is_offered(secrets: Path) -> None:
    from adit.dicom.dimse.peer import Peer
    from adit.dicom.dimse.tls import client_context
    from adit.model.dicom_node import Dimse

    dimse = Dimse.model_validate({"aeTitle": "A", "host": "localhost", "port": 104, **TLS})
    context = client_context(Peer("n", dimse), secrets)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
