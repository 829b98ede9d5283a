"""A job between two folders with real dispatchers and real workers, and the truth about where it ended.

Used by the dispatcher's crash tests: everything is real except what the test kills.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from pydicom import dcmread

from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.process_launcher import ProcessLauncher
from adit.dispatch.sweep import Patience
from adit.ledger.ledger import Ledger
from adit.model.dicom_node import DicomNode
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import TransferJob
from tests.samples import Study

LEASE = 15  # seconds; enough for a worker to start on a very busy machine
SETTINGS = DispatchSettings(patience=Patience(lease=LEASE, stop=10, deadline=10), poll_seconds=0.2)
SCRIPT = "tests.faults.dispatcher_process"


def now() -> datetime:
    return datetime.now(UTC)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@dataclass
class FolderTransfer:
    """One job of several studies from one folder to another; each `name` is a job and a destination of its own."""

    ledger: Ledger
    ledger_url: str
    worker_url: str
    tmp: Path
    studies: tuple[Study, ...]
    name: str = "job"
    limits: dict[str, object] = field(default_factory=lambda: {"tasks": 4, "associations": 8})
    settings: DispatchSettings = SETTINGS

    @property
    def source(self) -> Path:
        return self.tmp / "source"

    @property
    def destination(self) -> Path:
        return self.tmp / self.name

    def apply(self) -> UUID:
        if not self.source.exists():
            for study in self.studies:
                study.write(self.source)
        self.destination.mkdir()
        self.apply_nodes()
        job = {
            "kind": "TransferJob",
            "metadata": {"name": self.name},
            "spec": {
                "source": {"node": "source"},
                "destination": {"node": self.name},
                "selection": {"studies": [{"studyInstanceUID": study.study_instance_uid} for study in self.studies]},
                "retry": {"maxAttempts": 3, "backoffSeconds": 1, "maxBackoffSeconds": 1},
            },
        }
        self.ledger.apply_job(TransferJob.model_validate(job), now())
        return self.job_id

    def apply_nodes(self) -> None:
        self.ledger.apply_node(self._node("source", self.source), now())
        self.ledger.apply_node(self._node(self.name, self.destination), now())

    def _node(self, name: str, path: Path) -> DicomNode:
        spec = {"folder": {"path": str(path)}, "limits": self.limits}
        return DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": name}, "spec": spec})

    @property
    def job_id(self) -> UUID:
        record = self.ledger.job(("default", self.name))
        assert record is not None
        return record.id

    # --- dispatchers ---

    def dispatcher_here(self, wake: threading.Event) -> Dispatcher:
        launcher = ProcessLauncher(self.worker_url, spool=self.tmp / "spool", logs=self.tmp / "logs", on_exit=wake.set)
        return Dispatcher(
            self.ledger, launcher, clock=now, random=random.random, monotonic=time.monotonic, settings=self.settings
        )

    def dispatch_here(self, seconds: float = 120) -> None:
        """A dispatcher of this process works until the job has ended."""
        wake = threading.Event()
        deadline = time.monotonic() + seconds
        self.dispatcher_here(wake).run(lambda: self.ended() or time.monotonic() > deadline, wake)
        assert self.ended(), f"the job has not ended after {seconds} s"

    def dispatcher_process(self, crash: str = "never") -> subprocess.Popen[bytes]:
        """A dispatcher in a process of its own that ends with the job, or is killed at the named moment."""
        order = {
            "ledger": self.ledger_url,
            "worker": self.worker_url,
            "job": self.name,
            "tmp": str(self.tmp),
            "crash": crash,
        }
        with (self.tmp / "dispatchers.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", SCRIPT], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        return process

    # --- the truth ---

    def ended(self) -> bool:
        record = self.ledger.job(("default", self.name))
        return record is not None and record.ended_at is not None

    def delivered(self) -> Counter[str]:
        """How often each SOP Instance UID lies at the destination, whatever the file is called."""
        files = [path for path in self.destination.rglob("*") if path.is_file()]
        return Counter(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files)

    def is_complete(self) -> None:
        """All green, everything there once, every task done once, nothing left running."""
        summary = self.ledger.summary(self.job_id)
        expected = Counter({uid: 1 for study in self.studies for uid in study.sop_instance_uids})
        assert summary.state is JobState.SUCCESS, summary.message
        assert self.delivered() == expected
        assert summary.verified == summary.expected == len(expected)
        assert summary.tasks == {TaskState.SUCCESS: len(self.studies)}
        for task in self.ledger.tasks(self.job_id):
            endings = [event.code for event in self.ledger.events(task.id) if event.code == TaskState.SUCCESS]
            assert endings == [TaskState.SUCCESS], "a task was settled as success more than once"
        assert self.ledger.running() == []
        assert self.ledger.ended(10) == []

    def attempts(self) -> list[int]:
        """How many attempts each task took."""
        return [task.attempts for task in self.ledger.tasks(self.job_id)]
