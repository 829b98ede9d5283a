"""The facade in the installed system: a posted selection moves studies, and nothing in the cluster names a patient."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster.conftest import PATIENT
from tests.cluster.doors import door
from tests.cluster.installation import Installation
from tests.cluster.patient_scan import names_nobody
from tests.samples import Study


@pytest.fixture
def api(installation: Installation) -> Iterator[httpx.Client]:
    """A client with every scope, its token made where the docs say."""
    installation.kubectl("rollout", "status", "deploy/adit-api", "--timeout=240s")
    name = f"test-{len(installation.ledger.tokens())}"
    token = installation.kubectl(
        "exec", "deploy/adit-api", "--", "adit", "token", "create", name, "-s", "admin"
    ).strip()
    port = installation.get("service", f"{installation.release}-api")["spec"]["ports"][0]["port"]
    address = door(f"{installation.release}-api", installation.namespace, port)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://{address}/v1", headers=headers, timeout=60) as client:
        yield client


def test_a_posted_selection_is_moved_and_stays_in_the_ledger(
    api: httpx.Client, installation: Installation, many_studies: list[Study]
) -> None:
    namespace = installation.namespace
    studies = [study.study_instance_uid for study in many_studies[:3]]
    lines = [{"studyInstanceUID": uid, "patientID": PATIENT.format(n)} for n, uid in enumerate(studies)]
    posted = api.post("/selections", json={"namespace": namespace, "name": "cohort", "studies": lines})
    assert posted.status_code in (200, 201), posted.text
    spec = {
        "source": {"node": "sandbox-pacs"},
        "destination": {"node": "sandbox-research"},
        "selection": {"list": {"name": "cohort"}},
    }
    metadata = {"name": "posted", "namespace": namespace}
    created = api.post("/transferjobs", json={"metadata": metadata, "spec": spec})
    assert created.status_code == 201, created.text
    path = f"/transferjobs/{namespace}/posted"
    assert api.get(path).status_code == 200  # at once, whether or not the operator has seen it
    with api.stream("GET", f"{path}/progress") as stream:
        events = [line for line in stream.iter_lines() if line.startswith("event: ")]
    assert events[-1] == "event: end"
    shown = api.get(path).json()
    assert (shown["state"], shown["tasks"]["succeeded"]) == ("Success", 3)
    arrived = {uid for study in studies for uid in installation.destination.instances_of(study)}
    assert len(arrived) == shown["instances"]["verified"] == 12
    assert len(api.get(f"{path}/manifest.csv").text.splitlines()) == 13
    assert "job created" in installation.kubectl("logs", "deploy/adit-api", "--tail=-1")
    assert "Zebra" not in json.dumps(shown)
    names_nobody(installation, many_studies[:3], "Zebra")


def test_nodes_of_the_cluster_are_probed_and_asked(
    api: httpx.Client, installation: Installation, many_studies: list[Study]
) -> None:
    path = f"/dicomnodes/{installation.namespace}/sandbox-pacs"
    assert api.post(f"{path}/probe").json()["reachable"] is True
    found = api.post(f"{path}/find", json={"keys": {"PatientID": PATIENT.format(1)}})
    assert [each["StudyInstanceUID"] for each in found.json()["items"]] == [many_studies[1].study_instance_uid]
    assert "Zebra" not in installation.kubectl("logs", "deploy/adit-api", "--tail=-1")
