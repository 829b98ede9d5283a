"""The operator's own process on a real API server and a real ledger: what a SIGTERM leaves and who goes on there, and
what it makes of workers that had to go. The test is kubelet and worker."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.ledger import Ledger
from adit.model.assignment import Progress, Report
from adit.model.outcome import Fault, FaultCode, Outcome
from adit_operator.job_manifest import ATTEMPT_LABEL, TASK_LABEL, attempt_token
from tests.integration.ledger.scene import report, row
from tests.peers.control_plane import ControlPlane
from tests.peers.server_process import ServerProcess, free_port, wait_until
from tests.unit.model.specs import NODE, resource

STUDIES = ("1.2.1", "1.2.2")


@dataclass(frozen=True)
class Namespace:
    """One of the API server's, which is all that an operator looks after."""

    plane: ControlPlane
    name: str

    def kubectl(self, *arguments: str, document: object = None) -> str:
        return self.plane.kubectl("-n", self.name, *arguments, document=document)

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        self.kubectl("create", "-f", "-", document={**resource(kind, spec), "metadata": {"name": name}})

    def create_job(self, name: str, *studies: str) -> None:
        selection = {"studies": [{"studyInstanceUID": uid} for uid in studies]}
        nodes = {"source": {"node": "pacs"}, "destination": {"node": "research"}}
        self.create("TransferJob", name, {**nodes, "selection": selection})

    def patch_status(self, kind: str, name: str, status: Any) -> None:
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    def holder(self) -> str | None:
        """Of the Lease; None while there is none."""
        told = self.kubectl("get", "lease", "adit-operator", "-o", "json", "--ignore-not-found")
        return json.loads(told)["spec"].get("holderIdentity", "") if told else None

    def jobs(self) -> list[Any]:
        """Whole, so that nothing of them can have changed unseen; the oldest attempt's first."""
        found = json.loads(self.kubectl("get", "jobs", "-o", "json"))["items"]
        return sorted(found, key=lambda job: int(job["metadata"]["labels"][ATTEMPT_LABEL]))

    def is_complete(self, name: str) -> bool:
        job = json.loads(self.kubectl("get", "transferjob", name, "-o", "json"))
        conditions = job.get("status", {}).get("conditions", ())
        return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Namespace:
    made = Namespace(control_plane, f"test-{uuid4().hex[:8]}")
    control_plane.kubectl("create", "namespace", made.name)
    made.kubectl("create", "serviceaccount", "adit-worker")
    for name in ("pacs", "research"):
        made.create("DicomNode", name, {**NODE, "limits": {"tasks": 8}})
    return made


class OperatorProcess(ServerProcess):
    """`python -m adit_operator`, as its pod runs it."""

    def __init__(self, namespace: Namespace, ledger_url: str, name: str) -> None:
        folder = namespace.plane.folder
        self._address = f"127.0.0.1:{free_port()}"
        workers = folder / "workers.json"
        workers.write_text(json.dumps({"image": "worker:1", "database": {"secretName": "adit-database"}}))
        environment = {
            "KUBECONFIG": str(namespace.plane.kubeconfig()),
            "POD_NAME": name,
            "POD_NAMESPACE": namespace.name,
            "ADIT_DATABASE_URL": ledger_url,
            "ADIT_WORKERS": str(workers),
            "ADIT_LISTEN": self._address,
            "ADIT_LEASE_SECONDS": "600",  # the test's workers give one sign of life
        }
        super().__init__([sys.executable, "-m", "adit_operator"], folder / f"{namespace.name}-{name}.log", environment)

    def is_ready(self) -> bool:
        """Also of one that stands by."""
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                f"http://{self._address}/readyz", timeout=2
            )
        except OSError:
            return False
        return True


@pytest.fixture
def start(namespace: Namespace, ledger_url: str) -> Iterator[Callable[[str], OperatorProcess]]:
    started: list[OperatorProcess] = []

    def start(name: str) -> OperatorProcess:
        started.append(OperatorProcess(namespace, ledger_url, name))
        started[-1].wait_until(started[-1].is_ready, 60)
        return started[-1]

    yield start
    for each in started:
        each.kill()


def test_a_stopped_operator_hands_over_its_lease_and_leaves_the_workers_alone(
    namespace: Namespace, ledger: Ledger, worker_url: str, start: Callable[[str], OperatorProcess]
) -> None:
    first = start("first")
    wait_until(lambda: namespace.holder() == "first", "the first leads")
    namespace.create_job("ct", *STUDIES)
    wait_until(lambda: len(namespace.jobs()) == 2, "each task has its Job")
    workers = [Worker.of(each, worker_url) for each in namespace.jobs()]

    standby = start("standby")
    standby.signal(signal.SIGTERM)
    assert standby.wait() == 0
    assert namespace.holder() == "first"

    at_work = namespace.jobs()
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert namespace.holder() == ""
    assert namespace.jobs() == at_work

    start("second")
    wait_until(lambda: namespace.holder() == "second", "the second leads")
    namespace.create_job("later", "1.2.3")
    wait_until(lambda: len(namespace.jobs()) == 3, "the second is at work")
    assert [each for each in namespace.jobs() if each in at_work] == at_work
    for worker in workers:
        worker.finish()
        worker.ledger.close()
    wait_until(lambda: namespace.is_complete("ct"), "the second has told of their ends")
    job = ledger.job((namespace.name, "ct"))
    assert job is not None
    assert [task.attempts for task in ledger.tasks(job.id)] == [1, 1]


HAD_TO_GO = {
    "1.2.1": ("PreemptionByScheduler", FaultCode.PREEMPTED),
    "1.2.2": ("DeletionByTaintManager", FaultCode.MACHINE_LOST),
    "1.2.3": ("DeletionByPodGC", FaultCode.MACHINE_LOST),
    "1.2.4": ("EvictionByEvictionAPI", FaultCode.EVICTED),
    "1.2.5": ("TerminationByKubelet", FaultCode.EVICTED),
}


@pytest.mark.parametrize("can_report", [True, False], ids=["stopped", "killed"])
def test_a_worker_that_had_to_go_is_told_as_what_it_was_though_its_pod_is_gone(
    namespace: Namespace, ledger: Ledger, worker_url: str, start: Callable[[str], OperatorProcess], can_report: bool
) -> None:
    """Who preempts a pod deletes it, and its Job says only that it had to go: whoever asks late finds no pod."""
    start("operator")
    namespace.create_job("ct", *HAD_TO_GO)
    wait_until(lambda: len(namespace.jobs()) == len(HAD_TO_GO), "each task has its Job")
    record = ledger.job((namespace.name, "ct"))
    assert record is not None
    tasks = {task.id: task for task in ledger.tasks(record.id)}
    for job in namespace.jobs():
        worker = Worker.of(job, worker_url)
        reason, _ = HAD_TO_GO[tasks[int(job["metadata"]["labels"][TASK_LABEL])].study_instance_uid]
        dispose_of_pod(namespace, job, reason)
        if can_report:
            worker.finish(Report(outcome=Outcome.CANCELLED, faults=(INTERRUPTED,)))
        worker.ledger.close()
        fail(namespace, job)

    def told() -> dict[str, FaultCode]:
        ended = {task.study_instance_uid: ledger.attempts(task.id)[0].report for task in tasks.values()}
        return {study: report.faults[0].code for study, report in ended.items() if report is not None}

    expected = {study: code for study, (_, code) in HAD_TO_GO.items()}
    wait_until(lambda: FaultCode.INTERRUPTED not in told().values() and len(told()) == len(expected), "all are told")
    assert told() == expected


# --- means ---

INTERRUPTED = Fault(code=FaultCode.INTERRUPTED, message="The worker was told to stop.")


def dispose_of_pod(namespace: Namespace, job: Any, reason: str) -> None:
    """The pod of the Job runs, is disrupted and ends, and is gone."""
    name, template = job["metadata"]["name"], job["spec"]["template"]
    metadata = {**template["metadata"], "name": name}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    namespace.kubectl("create", "-f", "-", document=pod)
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    namespace.patch_status("pod", name, {"phase": "Failed", "conditions": [disrupted]})
    namespace.kubectl("delete", "pod", name, "--force", "--grace-period=0")


def fail(namespace: Namespace, job: Any) -> None:
    """As the controller of Jobs does when a pod of it had to go."""
    failed = {"status": "True", "reason": "PodFailurePolicy"}
    conditions = [{"type": kind, **failed} for kind in ("FailureTarget", "Failed")]
    status = {"startTime": job["metadata"]["creationTimestamp"], "conditions": conditions}
    namespace.patch_status("job", job["metadata"]["name"], status)


@dataclass
class Worker:
    """What a Job's pod does in the ledger, done by the test: here is no kubelet."""

    ledger: AttemptLedger
    instance: str

    @staticmethod
    def of(job: Any, url: str) -> Worker:
        """It has begun."""
        attempt = int(job["metadata"]["labels"][ATTEMPT_LABEL])
        token = attempt_token(job)
        assert token is not None
        worker = Worker(AttemptLedger(url, attempt, UUID(token)), f"1.2.9.{attempt}")
        worker.ledger.begin(job["metadata"]["name"], now())
        return worker

    def finish(self, told: Report | None = None) -> None:
        """Nobody has told it to stop. Without a report all has arrived that was expected."""
        arrived = row(self.instance, size=10, sha256="ab", transfer_syntax_uid="1.2.840.10008.1.2.1")
        assert self.ledger.write([arrived], Progress(), [], now()).stop is False
        self.ledger.finish(told or report(), now())


def now() -> datetime:
    return datetime.now(UTC)
