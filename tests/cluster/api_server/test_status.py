"""Statuses and events at a real API server: what kubectl shows and waits for, and who may write beside us."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from adit.ledger.ledger import Ledger
from adit.ledger.records import Settlement
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import TaskState
from adit_operator.cluster_events import ClusterEvents
from adit_operator.intake import Intake
from adit_operator.job_status import JobView, job_status
from adit_operator.kubernetes_api import DICOM_NODES, TRANSFER_JOBS, KubernetesApi
from adit_operator.kubernetes_login import login
from adit_operator.status_writer import StatusWriter
from tests.integration.ledger.scene import NOW, Scene, report, seeds
from tests.peers.control_plane import CRDS, PROGRAMS, ControlPlane
from tests.unit.operator.kstatus import kstatus
from tests.unit.operator.views import STAGES

STUDIES = ("1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.2")
PATIENT = "Doe-1003"


@dataclass
class Desk:
    """A ledger and an API server, and the operator's parts between them, each moved by hand."""

    plane: ControlPlane
    scene: Scene
    api: KubernetesApi
    now: datetime = NOW
    name: str = field(default_factory=lambda: f"ct-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Also: again, with nothing in memory."""
        self.writer = StatusWriter(self.scene.ledger, self.api, ClusterEvents(self.api, "operator-0"))
        self.intake = Intake(self.scene.ledger, self.writer, clock=lambda: self.now)

    def go_round(self) -> None:
        self.now += timedelta(seconds=10)
        self.intake.sweep(self.api, ["default"])
        self.writer.write_due(self.now)

    def document(self, **spec: Any) -> dict[str, Any]:
        studies = [{"studyInstanceUID": uid, "patientID": PATIENT} for uid in STUDIES]
        return {
            "apiVersion": TRANSFER_JOBS.api_version,
            "kind": TRANSFER_JOBS.name,
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": {
                "source": {"node": "pacs"},
                "destination": {"node": "research"},
                "selection": {"studies": studies},
                **spec,
            },
        }

    def apply(self, **spec: Any) -> None:
        self.plane.apply(self.document(**spec))

    def apply_nodes(self) -> None:
        for name in ("pacs", "research"):
            spec = {"folder": {"path": f"/data/{name}"}}
            metadata = {"name": name, "namespace": "default"}
            self.plane.apply(
                {"apiVersion": DICOM_NODES.api_version, "kind": "DicomNode", "metadata": metadata, "spec": spec}
            )

    def expand(self) -> None:
        record = self.scene.record(self.name)
        self.scene.ledger.expand(record.id, seeds(record.job), self.now)

    def make_tasks(self, **spec: Any) -> None:
        """Of a job that is applied with its nodes: all of it waits for its turn."""
        self.apply_nodes()
        self.apply(**spec)
        self.go_round()
        self.expand()

    def end(self, *settlements: Settlement) -> None:
        job_id = self.scene.record(self.name).id
        for settlement in settlements:
            outcome = report() if settlement.fault is None else report(Outcome.PERMANENT_DATA_FAULT, settlement.fault)
            self.scene.run(job_id, settlement, outcome=outcome, now=self.now)
        self.scene.ledger.close_jobs(self.now)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.plane.kubectl("get", "tj", self.name, "-o", "json"))
        return body

    def line(self) -> dict[str, str]:
        """What `kubectl get tj` shows, by column."""
        head, row = self.plane.kubectl("get", "tj", self.name).splitlines()
        starts = [head.index(word) for word in head.split()]
        ends = [*starts[1:], None]
        return {word: row[start:end].strip() for word, start, end in zip(head.split(), starts, ends, strict=True)}

    def waits(self, condition: str) -> bool:
        return self.plane.allows("wait", f"--for={condition}", f"tj/{self.name}", "--timeout=1s")


SUCCESS = Settlement(TaskState.SUCCESS, message="All instances are proven to have arrived.")
FAILURE = Settlement(
    TaskState.FAILURE,
    message="no",
    fault=Fault(code=FaultCode.STUDY_NOT_FOUND, message=f"{PATIENT} has no study {STUDIES[1]}.", node="pacs"),
)


@pytest.fixture
def desk(control_plane: ControlPlane, ledger: Ledger, worker_url: str) -> Iterator[Desk]:
    environment = {"KUBECONFIG": str(control_plane.kubeconfig())}
    api = KubernetesApi(lambda: login(environment))
    yield Desk(control_plane, Scene(ledger, worker_url), api)
    control_plane.kubectl("delete", "tj,dnode,events", "--all")
    api.close()


def test_a_job_from_apply_to_complete(desk: Desk) -> None:
    desk.apply_nodes()
    desk.apply()
    assert kstatus(desk.body()) == "InProgress"  # by the CRD's default: nobody has seen it
    desk.go_round()
    assert kstatus(desk.body()) == "InProgress"
    assert desk.line()["REASON"] == "MakingTasks"
    desk.expand()
    desk.go_round()
    assert kstatus(desk.body()) == "Current"
    assert (desk.line()["PROGRESS"], desk.line()["STATUS"], desk.line()["REASON"]) == ("0/2", "Pending", "Waiting")
    assert not desk.waits("condition=Complete")
    desk.end(SUCCESS, SUCCESS)
    desk.go_round()
    assert desk.waits("condition=Complete")
    assert desk.waits("jsonpath={.status.completionTime}")
    line = desk.line()
    assert line.pop("AGE")
    assert line == {
        "NAME": desk.name,
        "DESTINATION": "research",
        "PROGRESS": "2/2",
        "FAILED": "0",
        "STATUS": "Success",
        "REASON": "AllProven",
    }
    assert kstatus(desk.body()) == "Current"
    described = desk.plane.kubectl("describe", "tj", desk.name)
    events = described.split("Events:")[1]
    for reason in ("Accepted", "Expanded", "Completed"):
        assert events.count(reason) == 1
    assert "2 tasks, 2 instances: all are proven to have arrived." in events
    wide = desk.plane.kubectl("get", "tj", desk.name, "-o", "wide")
    assert all(word in wide for word in ("SOURCE", "WARNED", "BYTES", "BYTES/S", "ENDED"))


def test_a_failed_job_says_why_and_nothing_of_patients(desk: Desk) -> None:
    desk.make_tasks()
    desk.end(SUCCESS, FAILURE)
    desk.go_round()
    assert desk.waits("condition=Failed")
    assert not desk.waits("condition=Complete")
    assert kstatus(desk.body()) == "Failed"
    assert (desk.line()["FAILED"], desk.line()["REASON"]) == ("1", "TasksFailed")
    events = desk.plane.kubectl("get", "events", "-o", "json")
    assert "1 of 2 tasks failed: StudyNotFound (1)" in events
    for told in (json.dumps(desk.body()["status"]), events):
        assert PATIENT not in told
        assert not any(uid in told for uid in STUDIES)


def test_a_warning_does_not_pass_for_complete(desk: Desk) -> None:
    desk.make_tasks()
    desk.end(SUCCESS, Settlement(TaskState.WARNING, message="odd"))
    desk.go_round()
    assert not desk.waits("condition=Complete")
    assert desk.waits("condition=Failed")
    assert (desk.line()["FAILED"], desk.line()["STATUS"], desk.line()["REASON"]) == (
        "0",
        "Warning",
        "EndedWithWarnings",
    )


def test_a_job_waits_for_its_node_and_says_so(desk: Desk) -> None:
    desk.apply()
    desk.go_round()
    assert desk.line()["REASON"] == "NodeNotFound"
    described = desk.plane.kubectl("describe", "tj", desk.name)
    assert "there is no DicomNode pacs in namespace default. Apply the DicomNode, or correct the name." in described
    assert "NotAccepted" in described.split("Events:")[1]
    desk.apply_nodes()
    desk.go_round()
    assert desk.line()["REASON"] == "MakingTasks"
    nodes = desk.plane.kubectl("get", "dnode")
    assert nodes.count("True") == 2
    assert desk.plane.allows("wait", "--for=condition=Ready", "dnode", "--all", "--timeout=1s")


def test_what_the_crd_lets_pass_and_the_model_does_not(desk: Desk) -> None:
    metadata = {"name": "odd", "namespace": "default"}
    window = {"from": "20:00", "to": "06:00", "timeZone": "Doe/Jane"}
    spec = {"folder": {"path": "/data"}, "windows": [window]}
    desk.plane.apply({"apiVersion": DICOM_NODES.api_version, "kind": "DicomNode", "metadata": metadata, "spec": spec})
    desk.go_round()
    body = json.loads(desk.plane.kubectl("get", "dnode", "odd", "-o", "json"))
    assert kstatus(body) == "Failed"
    accepted = body["status"]["conditions"][0]
    assert (accepted["reason"], accepted["status"]) == ("Invalid", "False")
    assert accepted["message"].startswith("spec.windows[0].timeZone: no such IANA time zone.")
    assert "Doe" not in json.dumps(body["status"])


def test_another_managers_conditions_survive(desk: Desk) -> None:
    desk.apply_nodes()
    desk.apply()
    desk.go_round()
    mine = {
        "type": "Reviewed",
        "status": "True",
        "reason": "ByHand",
        "message": "",
        "lastTransitionTime": "2026-03-10T12:00:00Z",
    }
    document = {
        "apiVersion": TRANSFER_JOBS.api_version,
        "kind": TRANSFER_JOBS.name,
        "metadata": {"name": desk.name},
        "status": {"conditions": [mine]},
    }
    desk.plane.kubectl(
        "apply", "--server-side", "--field-manager=someone", "--subresource=status", "-f", "-", document=document
    )
    desk.expand()
    desk.go_round()
    desk.end(SUCCESS, SUCCESS)
    desk.go_round()
    conditions = {each["type"]: each for each in desk.body()["status"]["conditions"]}
    assert conditions["Reviewed"] == mine
    assert conditions["Complete"]["status"] == "True"
    assert "Reconciling" not in conditions


def test_applying_a_finished_job_again_changes_nothing(desk: Desk) -> None:
    desk.make_tasks()
    desk.end(SUCCESS, SUCCESS)
    desk.go_round()
    before = desk.body()
    desk.apply()
    desk.go_round()
    desk.start()
    desk.go_round()
    desk.go_round()
    assert desk.body() == before
    assert desk.writer.open == 2  # the nodes
    assert desk.scene.ledger.running() == []


def test_nothing_is_written_or_told_again_after_a_restart(desk: Desk) -> None:
    desk.make_tasks(suspend=True)
    desk.go_round()
    before = desk.body()
    events = desk.plane.kubectl("get", "events", "-o", "name").splitlines()
    desk.start()
    for _ in range(10):
        desk.go_round()
    assert desk.body() == before
    assert desk.plane.kubectl("get", "events", "-o", "name").splitlines() == events
    assert desk.line()["REASON"] == "Suspended"


def test_a_job_of_the_same_name_gets_no_status_of_the_old_one(desk: Desk) -> None:
    desk.make_tasks()
    desk.plane.kubectl("delete", "tj", desk.name)
    desk.apply()
    desk.now += timedelta(seconds=10)
    desk.writer.write_due(desk.now)  # the deletion is not known here yet
    assert desk.body()["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("anew", [False, True])
def test_a_status_that_somebody_forged_after_the_end_is_mended(desk: Desk, anew: bool) -> None:
    """Its end is in place, so that nothing but the ledger tells that it is wrong; by a restarted operator, too."""
    desk.make_tasks()
    desk.end(SUCCESS, FAILURE)
    desk.go_round()
    true = desk.body()["status"]
    desk.now += timedelta(minutes=5)
    desk.writer.write_due(desk.now)
    if anew:
        desk.start()
    conditions = [
        each | {"status": {"Complete": "True", "Failed": "False"}.get(each["type"], each["status"])}
        for each in true["conditions"]
    ]
    forged = {"status": {"state": "Success", "conditions": conditions, "counts": true["counts"] | {"failed": 0}}}
    desk.plane.kubectl(
        "patch", "tj", desk.name, "--subresource=status", "--type=merge", f"--patch={json.dumps(forged)}"
    )
    assert desk.waits("condition=Complete")
    desk.go_round()
    assert _timeless(desk.body()["status"]) == _timeless(true)
    version = desk.body()["metadata"]["resourceVersion"]
    desk.now += timedelta(minutes=5)
    desk.go_round()
    assert desk.body()["metadata"]["resourceVersion"] == version


def _timeless(status: dict[str, Any]) -> dict[str, Any]:
    """A condition that was forged has turned, and turned back."""
    conditions = [{key: each[key] for key in each if key != "lastTransitionTime"} for each in status["conditions"]]
    return status | {"conditions": conditions}


@pytest.mark.parametrize("anew", [False, True])
def test_a_deleted_job_that_a_finalizer_holds_is_told_of_to_its_end(desk: Desk, anew: bool) -> None:
    desk.make_tasks()
    desk.go_round()
    assert desk.line()["STATUS"] == "Pending"
    desk.plane.kubectl("patch", "tj", desk.name, "--type=merge", '-p={"metadata":{"finalizers":["example.org/mine"]}}')
    desk.plane.kubectl("delete", "tj", desk.name, "--wait=false")
    try:
        desk.go_round()
        assert desk.line()["STATUS"] == "Canceling"
        if anew:
            desk.start()
        desk.scene.ledger.cancel_pending(desk.now)
        desk.scene.ledger.close_jobs(desk.now)
        desk.go_round()
        assert desk.line()["STATUS"] == "Canceled"
    finally:
        desk.plane.kubectl("patch", "tj", desk.name, "--type=merge", '-p={"metadata":{"finalizers":null}}')
    desk.go_round()
    assert desk.writer.open == 2  # the nodes


@pytest.mark.parametrize("stage", STAGES)
def test_the_api_server_takes_every_status(desk: Desk, stage: str) -> None:
    """As it is, with nothing dropped."""
    desk.apply()
    told: JobView = STAGES[stage]
    status = job_status(told, None, NOW)
    assert status is not None
    desk.api.apply_status(TRANSFER_JOBS, "default", desk.name, status)
    assert desk.body()["status"] == status


def test_the_examples_are_what_argo_and_flux_read(control_plane: ControlPlane) -> None:
    """The ConfigMap, by a real API server; the rest of the kinds is not served here."""
    file = CRDS.parent / "examples" / "argocd" / "argocd-cm.yaml"
    command = [str(PROGRAMS / "kubectl"), f"--kubeconfig={control_plane.kubeconfig()}"]
    control_plane.kubectl("create", "namespace", "argocd")
    control_plane.kubectl(
        "create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://argo.example.org"
    )
    patch = ["patch", "configmap", "argocd-cm", "-n", "argocd", "--patch-file", str(file)]
    subprocess.run([*command, *patch], check=True, capture_output=True)
    data = json.loads(control_plane.kubectl("get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json"))["data"]
    assert data["url"] == "https://argo.example.org"
    assert "resource.customizations.health.adit.dev_TransferJob" in data


@dataclass
class Release:
    """A chart that holds the desk's job, and Helm 4, which waits by the real kstatus."""

    desk: Desk
    folder: Path

    def write(self) -> None:
        (self.folder / "templates").mkdir()
        chart = {"apiVersion": "v2", "name": "transfers", "version": "0.1.0"}
        (self.folder / "Chart.yaml").write_text(json.dumps(chart))
        (self.folder / "templates" / "job.yaml").write_text(json.dumps(self.desk.document()))

    def upgrade(self, seconds: int) -> str:
        """What `helm upgrade --wait` complains of; nothing if it is content."""
        release = ["upgrade", "--install", self.desk.name, str(self.folder), "-n", "default"]
        command = [str(PROGRAMS / "helm"), f"--kubeconfig={self.desk.plane.kubeconfig()}", *release]
        done = subprocess.run(
            [*command, "--wait", f"--timeout={seconds}s"], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stderr if done.returncode else ""


@pytest.mark.parametrize(("last", "content"), [(SUCCESS, True), (FAILURE, False)])
def test_helm_waits_as_kstatus_says(desk: Desk, tmp_path: Path, last: Settlement, content: bool) -> None:
    release = Release(desk, tmp_path)
    release.write()
    desk.apply_nodes()
    assert "InProgress" in release.upgrade(2), "nobody has seen the job"
    desk.go_round()
    assert "InProgress" in release.upgrade(2), "it has no tasks yet"
    desk.expand()
    desk.go_round()
    assert release.upgrade(20) == "", "it runs, as a Job that has started"
    desk.end(SUCCESS, last)
    desk.go_round()
    complaint = release.upgrade(5)
    assert complaint == "" if content else "Failed" in complaint
