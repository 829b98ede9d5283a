"""The scan for patients finds them where they must not be, and nowhere else: else it would prove nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.cluster.installation import ROOT, transfer_job
from tests.cluster.kubernetes import Document, Kubernetes, eventually, restricted_pod
from tests.cluster.patient_scan import PatientScan

STUDY = "1.2.826.0.1.3680043.99.4711"


@pytest.fixture
def patient() -> str:
    """Nobody else's: other tests' scans look through what is in no namespace, too."""
    return f"Patient-{uuid4().hex[:8]}-Gnu"


@pytest.fixture
def role(kubernetes: Kubernetes, patient: str) -> Iterator[str]:
    """Of the whole cluster, with a patient in an annotation."""
    name = f"planted-{uuid4().hex[:8]}"
    kubernetes.apply(thing("ClusterRole", name, api="rbac.authorization.k8s.io/v1", annotations={"of": patient}))
    yield name
    kubernetes.kubectl("delete", "clusterrole", name)


def thing(kind: str, name: str, api: str = "v1", **metadata: object) -> Document:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **metadata}}


def test_a_patient_is_found_wherever_it_is_planted(
    kubernetes: Kubernetes, namespace: str, patient: str, role: str
) -> None:
    encoded = base64.b64encode(f"one or two words about {patient}, and more".encode()).decode()
    kubernetes.apply(
        thing("ConfigMap", "annotated", namespace=namespace, annotations={"note": f"of {patient}"}),
        thing("ConfigMap", patient.lower(), namespace=namespace),
        {**thing("Secret", "encoded", namespace=namespace), "data": {"a": encoded}},
        thing("ConfigMap", "short", namespace=namespace, annotations={"note": "Doe^JANE"}),
        thing("ConfigMap", "innocent", namespace=namespace, annotations={"note": "Patient-0-Gnu, QUJDjaneREVG"}),
        talkative("now", kubernetes, namespace, patient, times=2),
        talkative("before", kubernetes, namespace, patient, times=1),
    )

    def restarted() -> bool:
        pods = kubernetes.list("pods", namespace)
        states = [each for pod in pods for each in pod["status"].get("containerStatuses", ())]
        return len(states) == 2 and all(each["restartCount"] == 1 and each["started"] for each in states)

    eventually("both pods have restarted", restarted, 60)
    seen = PatientScan(words=[patient, "Jane"]).look(namespace)
    expected = {
        "ConfigMap annotated": patient,
        f"ConfigMap {patient.lower()}": patient,
        "ConfigMap short": "JANE",
        "Secret encoded": f"{patient} in base64",
        f"ClusterRole {role}": patient,
        "Pod now": patient,  # which say it: in their commands
        "Pod before": patient,
        "log of now/it": patient,
        "log of now/it before": patient,
        "log of before/it before": patient,
    }
    assert sorted(seen.findings) == sorted(f"{where}: {[what]}" for where, what in expected.items())
    assert seen.kinds >= {"CustomResourceDefinition", "Node", "PersistentVolume", "ServiceAccount"}
    assert seen.previous == {"now/it", "before/it"}


def talkative(name: str, kubernetes: Kubernetes, namespace: str, patient: str, times: int) -> Document:
    """Ends once and is started again; says so many times whom it is about."""
    program = (
        "import pathlib, sys, time; again = pathlib.Path('/tmp/again'); begun = again.exists(); again.touch(); "
        f"print({patient!r} if not begun or {times} > 1 else 'nobody', flush=True); "
        "time.sleep(600) if begun else sys.exit(1)"
    )
    pod = restricted_pod(name, namespace, kubernetes.image("adit-worker"), ["python3", "-c", program])
    pod["spec"]["restartPolicy"] = "Always"
    return pod


def test_what_somebody_wrote_into_a_spec_is_excepted_and_no_more(
    kubernetes: Kubernetes, namespace: str, patient: str
) -> None:
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", "transferjobs.adit.dev")
    study = {"studyInstanceUID": STUDY, "patientID": patient}
    nodes = {"source": {"node": "a"}, "destination": {"node": "b"}}
    job = transfer_job("written", **nodes, selection={"studies": [study]})
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", document=job)
    scan = PatientScan(words=[patient, STUDY])
    assert scan.look(namespace).findings == []
    shown = kubernetes.kubectl("get", "tj", "written", "-n", namespace, "-o", "json", "--show-managed-fields")
    metadata = json.loads(shown)["metadata"]
    assert patient in metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert STUDY in json.dumps(metadata["managedFields"])
    kubernetes.kubectl("label", "tj", "written", "-n", namespace, f"study={STUDY}")
    assert scan.look(namespace).findings == [f"TransferJob written: {[STUDY]}"]
