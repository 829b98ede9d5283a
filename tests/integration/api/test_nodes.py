"""DicomNodes over REST: applied, listed, probed, asked; what they answer goes to the caller and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adit.ledger.ledger import Ledger
from adit.model.dicom_node import DicomNode
from adit_api.services import utc_now
from tests.integration.api.running import Facade
from tests.peers.orthanc import Orthanc
from tests.samples import ct_study

NODES = "/v1/dicomnodes"
PATIENT = "PAT-4711"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("orthanc"), aet="PACS1") as pacs:
        pacs.upload(*ct_study(2, seed="facade", patient_id=PATIENT).files())
        yield pacs


def pacs(orthanc: Orthanc, **more: Any) -> dict[str, Any]:
    return {"spec": {"dimse": {"aeTitle": "PACS1", "host": "127.0.0.1", "port": orthanc.dicom_port}, **more}}


def test_a_pacs_is_applied_probed_and_asked(facade: Facade, admin: str, orthanc: Orthanc, log_file: Path) -> None:
    path = f"{NODES}/default/pacs"
    assert facade.call("PUT", path, admin, json=pacs(orthanc)).status_code == 201
    assert facade.call("PUT", path, admin, json=pacs(orthanc)).status_code == 200
    probed = facade.call("POST", f"{path}/probe", admin).json()
    assert probed["reachable"] is True
    assert "StudyRootFind" in probed["services"]
    question = {"level": "study", "keys": {"PatientID": PATIENT}, "returning": ["StudyTime"]}
    found = facade.call("POST", f"{path}/find", admin, json=question).json()
    assert [each["PatientID"] for each in found["items"]] == [PATIENT]
    assert found["complete"] is True
    none = facade.call("POST", f"{path}/find", admin, json={"keys": {"PatientID": "nobody"}}).json()
    assert none["items"] == []
    one = facade.call("POST", f"{path}/find", admin, json={"limit": 1}).json()
    assert one["complete"] is False
    assert PATIENT not in log_file.read_text()


def test_what_a_node_cannot_do_is_told_by_its_fault(facade: Facade, admin: str) -> None:
    closed = {"spec": {"dimse": {"aeTitle": "PACS1", "host": "127.0.0.1", "port": 1}}}
    facade.call("PUT", f"{NODES}/default/closed", admin, json=closed)
    found = facade.call("POST", f"{NODES}/default/closed/find", admin, json={"keys": {"PatientID": PATIENT}})
    assert (found.status_code, found.json()["code"]) == (502, "NodeUnreachable")
    assert PATIENT not in found.text
    probed = facade.call("POST", f"{NODES}/default/closed/probe", admin).json()
    assert (probed["reachable"], probed["fault"]["code"]) == (False, "NodeUnreachable")
    assert facade.call("POST", f"{NODES}/default/nobody/probe", admin).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "hospital"},
        {"keys": {"NoKeyword": "x"}},
        {"keys": {"PatientID": f"{PATIENT}\x00"}},
        {"keys": {"PatientID": [PATIENT]}},
        {"returning": ["PatientID; DROP"]},
        {"limit": 0},
        {"limit": 10**30},
        {"key": {}},
    ],
)
def test_wrong_questions_are_refused_unasked(facade: Facade, admin: str, wrong: Any) -> None:
    facade.call("PUT", f"{NODES}/default/x", admin, json={"spec": {"folder": {"path": "/nowhere"}}})
    refused = facade.call("POST", f"{NODES}/default/x/find", admin, json=wrong)
    assert refused.status_code == 422
    assert PATIENT not in refused.text


def test_nodes_are_listed_in_pages(facade: Facade, admin: str) -> None:
    folder = {"spec": {"folder": {"path": "/srv"}}}
    for namespace, name in (("a", "x"), ("b", "a"), ("a", "b")):
        facade.call("PUT", f"{NODES}/{namespace}/{name}", admin, json=folder)
    first = facade.call("GET", NODES, admin, params={"limit": 2}).json()
    rest = facade.call("GET", NODES, admin, params={"limit": 2, "cursor": first["next"]}).json()
    names = [(each["namespace"], each["name"]) for each in first["items"] + rest["items"]]
    assert names == [("a", "b"), ("a", "x"), ("b", "a")]
    assert facade.call("GET", NODES, admin, params={"namespace": "b"}).json()["items"][0]["name"] == "a"


def test_a_node_in_git_is_changed_in_git(facade: Facade, admin: str, ledger: Ledger) -> None:
    metadata = {"name": "kept", "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}
    node = {"kind": "DicomNode", "metadata": metadata, "spec": {"folder": {"path": "/srv"}}}
    ledger.apply_node(DicomNode.model_validate(node), utc_now())
    refused = facade.call("PUT", f"{NODES}/default/kept", admin, json={"spec": {"folder": {"path": "/other"}}})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:adit:problem:kept-in-git")
    wrong = facade.call("PUT", f"{NODES}/default/new", admin, json={"spec": {"folder": {"path": "relative"}}})
    assert wrong.json()["errors"][0]["field"] == "spec.folder.path"
