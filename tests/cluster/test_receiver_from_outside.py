"""The receiver as a PACS outside the cluster meets it: at a node's port, at a load balancer, at a host's port.

In each case it sees the PACS's own address. With TLS, and with an inbox for what nobody waits for. Two sets of values:
one of a release's own, and one upgrade.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.conftest import PATIENT, installed
from tests.cluster.installation import Installation
from tests.cluster.kubernetes import Kubernetes, eventually
from tests.cluster.outside import BALANCER, NODE, Outside, outside
from tests.peers import Certificates, Dcmqrscp
from tests.peers.dcmtk import scu
from tests.samples import Study, ct_study

pytestmark = pytest.mark.timeout(600)
NODE_PORT, HOST_PORT = 31104, 11104
MINE = "inbox"  # the claim, its volume, and the node that it is a source by
RECEIVER: dict[str, Any] = {
    "enabled": True,
    "replicas": 1,
    "drainSeconds": 5,
    "resources": {"requests": {"cpu": "10m"}},
}
Send = Callable[..., int]


@pytest.fixture(scope="module")
def machine() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.fixture(scope="module")
def system(kubernetes: Kubernetes, machine: Outside) -> Iterator[Installation]:
    """At a port of the node, for that one machine. The namespace lets pods have a port of the host, for later."""
    service = {"type": "NodePort", "nodePort": NODE_PORT}
    receiver = RECEIVER | {"networks": [f"{machine.address}/32"], "service": service}
    with installed(kubernetes, pod_security="privileged", receiver=receiver) as made:
        yield made


def log(system: Installation, event: str) -> list[dict[str, Any]]:
    lines = system.kubectl("logs", "-l", "app.kubernetes.io/component=receiver", "--tail=-1").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def study(number: int) -> Study:
    return ct_study(4, seed=f"outside-{number}", size=32, patient_id=PATIENT.format(8300 + number))


# A port of the node


def test_by_a_port_of_the_node_a_c_move_arrives(system: Installation, machine: Outside, tmp_path: Path) -> None:
    """A PACS that is let in by its address, which is not the node's."""
    asked = study(1)
    there = {"ADIT": (NODE, NODE_PORT)}
    with Dcmqrscp(tmp_path, destinations=there, host=machine.address, within=machine.within) as pacs:
        files = map(str, asked.write(tmp_path / "files"))
        done = scu("storescu", "-aec", pacs.aet, pacs.host, str(pacs.dicom_port), *files)
        assert done.returncode == 0, done.stderr
        services = ["Verification", "StudyRootFind", "StudyRootMove"]
        dimse = {"aeTitle": pacs.aet, "host": pacs.host, "port": pacs.dicom_port, "services": services}
        system.apply(
            {
                "apiVersion": "adit.dev/v1alpha1",
                "kind": "DicomNode",
                "metadata": {"name": "outside"},
                "spec": {"dimse": dimse},
            }
        )
        job = system.job(asked.study_instance_uid, source={"node": "outside"})
        job.wait("Complete")
    assert system.destination.instances_of(asked.study_instance_uid) == asked.sop_instance_uids
    [task] = system.ledger.tasks(job.id)
    assert task.attempts == 1
    assert [each.message for each in system.ledger.events(task.id) if each.code == "Fetched"] == [
        "C-MOVE: 4 instances."
    ]
    [ended] = log(system, "association ended")
    assert (ended["peer"], ended["objects"]) == (machine.address, {"taken": 4})


def test_by_a_port_of_the_node_no_other_address_is_let_in(system: Installation, machine: Outside) -> None:
    arguments = ("-aec", "ADIT", NODE, str(NODE_PORT))
    assert scu("echoscu", *arguments).returncode != 0
    refused = log(system, "connection refused")
    assert {each["reason"] for each in refused} == {"network"}
    assert machine.address not in {each["peer"] for each in refused}
    assert scu("echoscu", *arguments, within=machine.within).returncode == 0


# A load balancer, a port of the host, TLS, and an inbox


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def balanced(system: Installation, certificates: Certificates) -> Installation:
    folder = certificates.issue("receiver", f"IP:{NODE}", f"IP:{BALANCER}")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "receiver-tls"}}
    system.apply(
        secret | {"stringData": {each: (folder / each).read_text() for each in ("tls.crt", "tls.key", "ca.crt")}}
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    system.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": MINE}, "spec": claim})
    volume = {"name": MINE, "persistentVolumeClaim": {"claimName": MINE}}
    mount = {"name": MINE, "mountPath": f"/{MINE}", "readOnly": True}
    receiver = RECEIVER | {
        "hostPort": HOST_PORT,
        "service": {"type": "LoadBalancer", "port": 104},
        "tls": {"secretName": "receiver-tls", "clientCertificates": True},
        "inbox": {"existingClaim": MINE},
    }
    with a_balancer_for(system):
        system.install(receiver=receiver, worker={"extraVolumes": [volume], "extraVolumeMounts": [mount]})
    return system


@contextmanager
def a_balancer_for(system: Installation) -> Iterator[None]:
    """Gives the Service its address, as a cloud's controller does: Helm waits for that."""
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}}})

    def give() -> None:
        name = f"{system.release}-receiver"
        eventually("there is such a Service", lambda: system.get("service", name)["spec"]["type"] == "LoadBalancer", 60)
        system.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p", status)

    thread = threading.Thread(target=give)
    thread.start()
    yield
    thread.join()


@pytest.fixture
def send(machine: Outside, certificates: Certificates, tmp_path: Path) -> Send:
    """storescu's exit code; `flags` are those of TLS, by default with a certificate that the authority signed."""
    ours = certificates.folder / "pacs"
    known = certificates.dcmtk_flags(ours if ours.exists() else certificates.issue("pacs"))

    def sent(what: Study, host: str, port: int, flags: tuple[str, ...] = known) -> int:
        files = map(str, what.write(tmp_path / uuid4().hex))
        done = scu("storescu", *flags, "-aec", "ADIT", host, str(port), *files, within=machine.within)
        return done.returncode

    return sent


@pytest.mark.parametrize(("host", "port"), [(BALANCER, 104), (NODE, HOST_PORT)], ids=["balancer", "host port"])
def test_by_tls_objects_come_into_the_inbox_and_go_on_from_there(
    balanced: Installation, machine: Outside, send: Send, host: str, port: int
) -> None:
    """Nobody waits for them: they are kept, and a job takes them from the inbox, which is a folder like any other."""
    given = study(port)
    assert send(given, host, port) == 0
    assert {"peer": machine.address, "objects": {"taken": 4}}.items() <= log(balanced, "association ended")[-1].items()
    balanced.apply(
        {
            "apiVersion": "adit.dev/v1alpha1",
            "kind": "DicomNode",
            "metadata": {"name": MINE},
            "spec": {"folder": {"path": f"/{MINE}"}},
        }
    )
    job = balanced.job(given.study_instance_uid, source={"node": MINE})
    job.wait("Complete")
    assert balanced.destination.instances_of(given.study_instance_uid) == given.sop_instance_uids


def test_the_balancer_s_port_of_the_node_will_do(balanced: Installation, send: Send) -> None:
    """Where a balancer of somebody's own sends to."""
    [port] = balanced.get("service", f"{balanced.release}-receiver")["spec"]["ports"]
    assert send(study(2), NODE, port["nodePort"]) == 0


def test_without_the_right_certificate_nothing_is_taken(
    balanced: Installation, certificates: Certificates, send: Send, tmp_path: Path
) -> None:
    authority = ("+cf", str(certificates.ca))
    stranger = Certificates(tmp_path, "another-ca").issue("stranger")
    wrong = ("+tls", str(stranger / "tls.key"), str(stranger / "tls.crt"), *authority)
    for flags in ((), ("+tla", *authority), wrong):
        assert send(study(3), BALANCER, 104, flags) != 0
    reasons = " ".join(each["reason"] for each in log(balanced, "no TLS was agreed"))
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reasons
    assert "CERTIFICATE_VERIFY_FAILED" in reasons
    assert send(study(3), BALANCER, 104) == 0
