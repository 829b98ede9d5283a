"""C-MOVE on the cluster: the PACS sends to the receiver's Service, whatever becomes of the receiver's pods meanwhile.

The proof is the same as everywhere: what the source holds is at the destination, each instance once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import PATIENT
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import eventually
from tests.cluster.patient_scan import names_nobody
from tests.samples import Study, ct_study

pytestmark = pytest.mark.timeout(600)
RECEIVER = {"enabled": True, "replicas": 3, "drainSeconds": 60, "resources": {"requests": {"cpu": "10m"}}}
INSTANCES = 60


@pytest.fixture(scope="module")
def with_receiver(release: Installation) -> Iterator[Installation]:
    with release.changed(receiver=RECEIVER):
        yield release


@pytest.fixture(scope="module")
def study(release: Installation) -> Study:
    """Eight megabytes in sixty instances: some seconds through the node `pacs`."""
    made = ct_study(INSTANCES, seed="cluster-receiver", size=256, patient_id=PATIENT.format(8100))
    release.source.upload(*made.files())
    return made


@pytest.fixture
def system(with_receiver: Installation) -> Iterator[Installation]:
    with_receiver.scale("receiver", 3)
    with_receiver.clear()
    yield with_receiver
    with_receiver.clear()


def move(system: Installation, study: Study, rate: str = "400k") -> Job:
    """A job whose source is the sandbox's, asked by C-MOVE alone, at so many bytes a second."""
    dimse = {"aeTitle": "SANDBOX", "host": f"{system.release}-sandbox-pacs.{system.namespace}.svc", "port": 4242}
    dimse |= {"services": ["Verification", "StudyRootFind", "StudyRootMove"], "timeouts": {"idleSeconds": 5}}
    limits = {"tasks": 4, "associations": 4, "bytesPerSecond": rate}
    system.apply(
        {
            "apiVersion": "adit.dev/v1alpha1",
            "kind": "DicomNode",
            "metadata": {"name": "move-only"},
            "spec": {"dimse": dimse, "limits": limits},
        }
    )
    return system.job(study.study_instance_uid, source={"node": "move-only"})


def receivers(system: Installation) -> list[str]:
    return [pod["metadata"]["name"] for pod in system.running("receiver")]


def number(system: Installation, pod: str, metric: str) -> int:
    """Of a receiver's own count; by way of the API server, as pods may be out of our reach."""
    text = system.kubectl("get", "--raw", f"/api/v1/namespaces/{system.namespace}/pods/{pod}:8080/proxy/metrics")
    return int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(metric)))


def taken(system: Installation) -> int:
    """How many objects all receivers have passed on."""
    return sum(number(system, pod, 'adit_receiver_objects_total{fate="taken"}') for pod in receivers(system))


def busy(system: Installation) -> str:
    """The receiver that the PACS sends to, once it has passed something on."""
    before = taken(system)

    def found() -> str | None:
        if taken(system) <= before:
            return None
        return next((pod for pod in receivers(system) if number(system, pod, "adit_receiver_open_associations")), None)

    return eventually("a receiver takes what the PACS sends", found, 90)


def road_of(system: Installation, job: Job) -> set[str]:
    """As the ledger has it."""
    [task] = system.ledger.tasks(job.id)
    return {each.message.partition(":")[0] for each in system.ledger.events(task.id) if each.code == "Fetched"}


def test_a_study_comes_by_c_move(system: Installation, study: Study) -> None:
    before = taken(system)
    job = move(system, study, "200M")
    job.wait("Complete")
    job.is_proven(study.study_instance_uid)
    assert road_of(system, job) == {"C-MOVE"}
    assert taken(system) - before == INSTANCES


def test_one_of_three_receivers_is_killed(system: Installation, study: Study) -> None:
    job = move(system, study)
    system.kubectl("delete", "pod", busy(system), "--grace-period=0", "--force")
    job.wait("Complete", 240)
    job.is_proven(study.study_instance_uid)


def test_the_only_receiver_is_killed(system: Installation, study: Study) -> None:
    system.scale("receiver", 1)
    job = move(system, study)
    system.kubectl("delete", "pod", busy(system), "--grace-period=0", "--force")
    job.wait("Complete", 240)
    job.is_proven(study.study_instance_uid)


def test_a_rolling_update_loses_nothing(system: Installation, study: Study) -> None:
    """The association that is open goes on to its end; the PACS hears of no failure."""
    job = move(system, study)
    old = busy(system)
    system.kubectl("rollout", "restart", "deployment", f"{system.release}-receiver")
    job.wait("Complete", 240)
    job.is_proven(study.study_instance_uid)
    [task] = system.ledger.tasks(job.id)
    assert task.attempts == 1
    assert not [event for event in system.ledger.events(task.id) if event.level != "info"], job.story()
    eventually("the old one is gone", lambda: old not in {each["metadata"]["name"] for each in system.get("pods")}, 120)


def test_a_worker_is_killed_with_its_mailbox_open(system: Installation, study: Study) -> None:
    job = move(system, study)
    busy(system)
    system.kubectl("delete", "pod", job.wait_pod("Running")["metadata"]["name"], "--grace-period=0", "--force")
    job.wait("Complete", 300)
    job.is_proven(study.study_instance_uid)
    [task] = system.ledger.tasks(job.id)
    assert task.attempts == 2


def test_a_receiver_has_no_rights_and_knows_no_other_login(system: Installation) -> None:
    [pod, *_] = system.running("receiver")
    assert not any("serviceAccountToken" in json.dumps(volume) for volume in pod["spec"]["volumes"])
    look = "import os; print(sorted(n for n in os.listdir('/var/run/adit/credentials') if not n.startswith('.')))"
    held = system.kubectl("exec", pod["metadata"]["name"], "-c", "receiver", "--", "python3", "-c", look)
    assert held.strip() == "['ADIT_RECEIVER_DATABASE_URL']"


def test_neither_its_log_nor_anything_else_names_a_patient(system: Installation, study: Study) -> None:
    job = move(system, study, "200M")
    job.wait("Complete")
    seen = names_nobody(system, [study])
    assert {f"{pod}/receiver" for pod in receivers(system)} <= seen.logs
