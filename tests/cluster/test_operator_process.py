"""The operator's own process on a real API server and a real ledger: what a SIGTERM leaves, and who goes on there."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.ledger import Ledger
from adit.model.assignment import Progress
from adit_operator.job_manifest import ATTEMPT_LABEL, attempt_token
from tests.integration.ledger.scene import report, row
from tests.peers.control_plane import ControlPlane
from tests.peers.server_process import ServerProcess, free_port, wait_until
from tests.unit.model.specs import NODE, resource

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "adit"
STUDIES = ("1.2.1", "1.2.2")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path) as started:
        started.kubectl("create", "-f", str(CRDS))
        started.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        started.kubectl("create", "namespace", NAMESPACE)
        for name in ("pacs", "research"):
            started.apply(named(resource("DicomNode", NODE), name))
        yield started


class OperatorProcess(ServerProcess):
    """`python -m adit_operator`, as its pod runs it."""

    def __init__(self, plane: ControlPlane, ledger_url: str, name: str) -> None:
        self.name = name
        self._address = f"127.0.0.1:{free_port()}"
        workers = plane.folder / "workers.json"
        workers.write_text(json.dumps({"image": "worker:1", "database": {"secretName": "adit-database"}}))
        environment = {
            "KUBECONFIG": str(plane.kubeconfig()),
            "POD_NAME": name,
            "POD_NAMESPACE": NAMESPACE,
            "ADIT_DATABASE_URL": ledger_url,
            "ADIT_WORKERS": str(workers),
            "ADIT_LISTEN": self._address,
            "ADIT_LEASE_SECONDS": "600",  # the test's workers give one sign of life
        }
        super().__init__([sys.executable, "-m", "adit_operator"], plane.folder / f"{name}.log", environment)

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
def start(plane: ControlPlane, ledger_url: str) -> Iterator[Callable[[str], OperatorProcess]]:
    started: list[OperatorProcess] = []

    def start(name: str) -> OperatorProcess:
        started.append(OperatorProcess(plane, ledger_url, name))
        started[-1].wait_until(started[-1].is_ready, 60)
        return started[-1]

    yield start
    for each in started:
        each.kill()


def test_a_stopped_operator_hands_over_its_lease_and_leaves_the_workers_alone(
    plane: ControlPlane, ledger: Ledger, worker_url: str, start: Callable[[str], OperatorProcess]
) -> None:
    first = start("first")
    wait_until(lambda: holder(plane) == "first", "the first leads")
    apply_job(plane, "ct", *STUDIES)
    wait_until(lambda: len(jobs(plane)) == 2, "each task has its Job")
    workers = [Worker.of(each, worker_url) for each in jobs(plane)]

    standby = start("standby")
    standby.signal(signal.SIGTERM)
    assert standby.wait() == 0
    assert holder(plane) == "first"

    at_work = jobs(plane)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert holder(plane) == ""
    assert jobs(plane) == at_work

    start("second")
    wait_until(lambda: holder(plane) == "second", "the second leads")
    apply_job(plane, "later", "1.2.3")
    wait_until(lambda: len(jobs(plane)) == 3, "the second is at work")
    assert [each for each in jobs(plane) if each in at_work] == at_work
    for worker in workers:
        worker.finish()
    wait_until(lambda: is_complete(plane, "ct"), "the second has told of their ends")
    job = ledger.job((NAMESPACE, "ct"))
    assert job is not None
    assert [task.attempts for task in ledger.tasks(job.id)] == [1, 1]


# --- means ---


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {**document, "metadata": {"name": name, "namespace": NAMESPACE}}


def apply_job(plane: ControlPlane, name: str, *studies: str) -> None:
    spec = {
        "source": {"node": "pacs"},
        "destination": {"node": "research"},
        "selection": {"studies": [{"studyInstanceUID": uid} for uid in studies]},
    }
    plane.apply(named(resource("TransferJob", spec), name))


def holder(plane: ControlPlane) -> str | None:
    """Of the Lease; None while there is none."""
    told = plane.kubectl("get", "lease", "adit-operator", "-n", NAMESPACE, "-o", "json", "--ignore-not-found")
    return json.loads(told)["spec"].get("holderIdentity", "") if told else None


def jobs(plane: ControlPlane) -> list[Any]:
    """Whole, so that nothing of them can have changed unseen; the oldest attempt's first."""
    found = json.loads(plane.kubectl("get", "jobs", "-n", NAMESPACE, "-o", "json"))["items"]
    return sorted(found, key=lambda job: int(job["metadata"]["labels"][ATTEMPT_LABEL]))


def is_complete(plane: ControlPlane, name: str) -> bool:
    job = json.loads(plane.kubectl("get", "transferjob", name, "-n", NAMESPACE, "-o", "json"))
    conditions = job.get("status", {}).get("conditions", ())
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


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

    def finish(self) -> None:
        """Nobody has told it to stop; all that was expected has arrived."""
        arrived = row(self.instance, size=10, sha256="ab", transfer_syntax_uid="1.2.840.10008.1.2.1")
        assert self.ledger.write([arrived], Progress(), [], now()).stop is False
        self.ledger.finish(report(), now())
        self.ledger.close()


def now() -> datetime:
    return datetime.now(UTC)
