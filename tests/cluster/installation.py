"""ADIT on the real cluster, installed by its chart with the sandbox: what the system's tests look at and work with.

One release a session (fixture `installation`, tests/cluster/conftest.py); each test makes jobs of its own names and
finds the destination empty. Services are reached through `doors`.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import yaml
from sqlalchemy import Engine, make_url

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit.model.outcome import FaultCode
from tests.cluster.doors import door
from tests.cluster.kubernetes import PATIENCE, Kubernetes, eventually
from tests.cluster.values import VALUES
from tests.peers.orthanc import OrthancRest

ROOT = Path(__file__).parents[2]
HASTY = {"maxAttempts": 20, "backoffSeconds": 1, "maxBackoffSeconds": 2}

Manifest = dict[str, Any]
Expect = Callable[[Sequence[str]], "Callable[[Job], None]"]
"""Told of a job's studies before it is made, and then of the job."""


@dataclass
class Installation:
    """One release and its namespace."""

    namespace: str
    release: str = "adit"
    _values: dict[str, Any] = field(default_factory=dict)
    _engine: Engine | None = None
    _expect: Expect | None = None

    # --- helm and kubectl ---

    def install(self, **values: Any) -> None:
        """Installs, or upgrades to these values on top of the rig's; returns when everything is ready."""
        self._values = {"sandbox": {"enabled": True}} | values
        command = ["helm", "upgrade", "--install", self.release, str(ROOT / "charts" / "adit"), "-n", self.namespace]
        command += ["--create-namespace", "--take-ownership", "--force-conflicts", "--wait", "--timeout=480s"]
        command += [f"-f={VALUES}", "-f=-"]
        done = subprocess.run(
            command, input=yaml.safe_dump(self._values), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-3000:]}"

    def kubectl(self, *arguments: str, document: object = None, seconds: float = 500) -> str:
        return Kubernetes().kubectl("-n", self.namespace, *arguments, document=document, timeout=seconds)

    def get(self, kind: str, name: str = "", *, labels: str = "") -> Any:
        """One object, or the list of them."""
        selector = ["-l", labels] if labels else []
        answer = json.loads(self.kubectl("get", kind, *([name] if name else selector), "-o", "json"))
        return answer if name else answer["items"]

    def apply(self, *manifests: Manifest) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "-f", "-", document=items)

    @contextmanager
    def changed(self, **values: Any) -> Iterator[None]:
        """Upgraded to these values, and back."""
        self.install(**values)
        try:
            yield
        finally:
            self.install()

    def clear(self) -> None:
        """No jobs any more, no worker of them, and nothing at the destination."""
        self.kubectl("delete", "transferjobs", "--all", "--wait=true")
        worker = "app.kubernetes.io/component=worker"
        eventually("no worker is left", lambda: not self.get("pods", labels=worker), 90)
        self.destination.delete_all()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    # --- parts ---

    def pods(self, component: str) -> list[Any]:
        """The component's pods that have not ended."""
        selector = f"app.kubernetes.io/part-of=adit,app.kubernetes.io/component={component}"
        return [each for each in self.get("pods", labels=selector) if each["status"].get("phase") == "Running"]

    def running(self, component: str, labels: str = "") -> list[Any]:
        """The component's pods, those that are being made too, but none that ends."""
        wanted = f"app.kubernetes.io/part-of=adit,app.kubernetes.io/component={component}"
        pods = self.get("pods", labels=f"{wanted},{labels}".rstrip(","))
        return [each for each in pods if "deletionTimestamp" not in each["metadata"]]

    def scale(self, component: str, number: int) -> None:
        """So many replicas, all of them ready."""
        name = f"{self.release}-{component}"
        self.kubectl("scale", "deployment", name, f"--replicas={number}")
        self.kubectl("rollout", "status", "deployment", name, "--timeout=480s")
        eventually(f"{component} has {number} pods", lambda: len(self.running(component)) == number, 60)

    def leader(self) -> str:
        """The operator's pod that leads; empty while none does."""
        return str(self.get("lease", f"{self.release}-operator")["spec"].get("holderIdentity") or "")

    @property
    def ledger(self) -> Ledger:
        """The release's own, reached at its pod."""
        return Ledger(self.database)

    @property
    def database(self) -> Engine:
        url = self.reached_database_url
        if self._engine is None or self._engine.url != make_url(url):
            self.close()
            self._engine = engine(url, connections=2)
        return self._engine

    @property
    def reached_database_url(self) -> str:
        """From here."""
        host, port = door(f"{self.release}-postgres", self.namespace, 5432).split(":")
        url = make_url(self.database_url).set(host=host, port=int(port))
        return url.render_as_string(hide_password=False)

    @property
    def database_url(self) -> str:
        return _decoded(self.get("secret", f"{self.release}-database")["data"]["database-url"])

    @property
    def source(self) -> OrthancRest:
        return OrthancRest(f"http://{door(f'{self.release}-sandbox-pacs', self.namespace, 8042)}")

    @property
    def destination(self) -> OrthancRest:
        return OrthancRest(f"http://{door(f'{self.release}-sandbox-research', self.namespace, 8042)}")

    # --- jobs ---

    def node(self, name: str, **spec: Any) -> str:
        """A DicomNode of its own for the sandbox's source (or, with a name in -research, its destination)."""
        end = "research" if name.endswith("-research") else "pacs"
        self.apply(dicom_node(name, f"{self.release}-sandbox-{end}.{self.namespace}.svc", **spec))
        return name

    def job(self, *studies: str, name: str | None = None, **spec: Any) -> Job:
        """Applies a TransferJob of these studies between the sandbox's nodes."""
        name = name or f"job-{uuid4().hex[:8]}"
        selection = {"studies": [{"studyInstanceUID": uid} for uid in studies]}
        wanted: Manifest = {"source": {"node": "sandbox-pacs"}, "destination": {"node": "sandbox-research"}}
        wanted |= {"selection": selection, "retry": HASTY}
        watch = None if self._expect is None else self._expect(studies)
        self.apply(transfer_job(name, **(wanted | spec)))
        job = Job(self, name, self.get("transferjob", name)["metadata"]["uid"])
        if watch is not None:
            watch(job)
        return job

    def watched_by(self, expect: Expect | None) -> None:
        """Told of every job that is made from now on."""
        self._expect = expect


@dataclass(frozen=True)
class Job:
    """One TransferJob, as the cluster and the ledger show it."""

    installation: Installation
    name: str
    uid: str

    @property
    def id(self) -> UUID:
        return UUID(self.uid)

    @property
    def resource(self) -> Any:
        return self.installation.get("transferjob", self.name)

    @property
    def status(self) -> Any:
        return self.resource.get("status", {})

    def condition(self, kind: str) -> Any:
        return next((each for each in self.status.get("conditions", ()) if each["type"] == kind), {})

    def patch(self, **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self.installation.kubectl("patch", "transferjob", self.name, "--type=merge", "-p", patch)

    def jobs(self) -> list[Any]:
        """The Kubernetes Jobs of its attempts."""
        return list(self.installation.get("jobs", labels=f"adit.dev/job={self.uid}"))

    def pods(self) -> list[Any]:
        return list(self.installation.get("pods", labels=f"adit.dev/job={self.uid}"))

    def wait_pod(self, phase: str = "Running", seconds: float = 60) -> Any:
        """One of its workers' pods in this phase, as soon as there is one."""

        def there() -> Any:
            return next((pod for pod in self.pods() if pod["status"].get("phase") == phase), None)

        return eventually(f"a worker of {self.name} is {phase}", there, seconds)

    def wait(self, condition: str = "Complete", seconds: float = 120) -> None:
        """Until the resource has the condition; AssertionError with all that is known if it does not."""
        arguments = (
            f"--for=condition={condition}",
            f"transferjob/{self.name}",
            f"--timeout={int(seconds * PATIENCE)}s",
        )
        try:
            self.installation.kubectl("wait", *arguments, seconds=(seconds + 30) * PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def stalls(self, reason: FaultCode, seconds: float = 60) -> None:
        """Until the job says that this keeps it from going on."""
        eventually(f"{self.name} stalls", lambda: self.condition("Stalled").get("reason") == reason, seconds)
        condition = self.condition("Stalled")
        assert condition["status"] == "True"
        assert condition["message"]

    def story(self) -> str:
        """What the cluster and the ledger know of it, for a failed test's message."""
        parts = [json.dumps(self.status, indent=1)]
        with suppress(AssertionError):
            parts.append(self.installation.kubectl("get", "jobs,pods", "-l", f"adit.dev/job={self.uid}", "-o", "wide"))
            parts.append(self.installation.kubectl("logs", "-l", "app.kubernetes.io/component=operator", "--tail=40"))
        for task in self.installation.ledger.tasks(self.id):
            if not task.state.ended or task.fault is not None:
                events = self.installation.ledger.events(task.id)
                parts += [f"task {task.id}: {task.state} {task.message}", *(f"  {e.at} {e.code}" for e in events[-12:])]
        return "\n".join(parts)[-12000:]

    def is_proven(self, *studies: str) -> None:
        """Every instance of the studies is there by Orthanc's own REST, nothing else of them, and the ledger agrees.

        How often each was stored, and what was claimed meanwhile, is a witness' to say (fixture `witnessed`).
        """
        source, destination = self.installation.source, self.installation.destination
        expected = {uid for study in studies for uid in source.instances_of(study)}
        arrived = {uid for study in studies for uid in destination.instances_of(study)}
        assert expected, "the source does not have the studies"
        assert arrived == expected
        summary = self.installation.ledger.summary(self.id)
        assert (summary.expected, summary.verified) == (len(expected), len(expected))


def transfer_job(name: str, **spec: Any) -> Manifest:
    return {"apiVersion": "adit.dev/v1alpha1", "kind": "TransferJob", "metadata": {"name": name}, "spec": spec}


def dicom_node(name: str, host: str, port: int = 4242, **spec: Any) -> Manifest:
    dimse = {"aeTitle": name.upper()[:16], "host": host, "port": port}
    return {
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "DicomNode",
        "metadata": {"name": name},
        "spec": {"dimse": dimse} | spec,
    }


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode()
