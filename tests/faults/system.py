"""The whole path of a fault: a dispatcher at work, real worker processes, a real ledger, and peers of any kind.

`System` is made by the fixture `system`; each `Job` is asked afterwards what the ledger, the command line
and the proof say about it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from typer.testing import CliRunner

from adit.cli.main import app
from adit.cli.tables import task_table
from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.process_launcher import ProcessLauncher
from adit.dispatch.sweep import Patience
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobSummary, RunningAttempt, TaskRecord
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode
from adit.model.process_reference import parse
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import TransferJob
from tests.integration.transfer.scene import dimse, folder, now
from tests.peers.server_process import wait_until
from tests.samples import Study

__all__ = ["Gate", "Job", "System", "dimse", "folder", "pid_of"]

HASTY_RETRY = {"maxAttempts": 8, "backoffSeconds": 1, "maxBackoffSeconds": 1}
SETTINGS = DispatchSettings(patience=Patience(lease=10, stop=10, deadline=10), poll_seconds=0.2)


@dataclass
class Gate:
    """Holds a scripted peer up at the n-th request of a service until it is opened."""

    service: str
    number: int
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, service: str, number: int) -> None:
        if service == self.service and number == self.number:
            self.reached.set()
            self.opened.wait(90)


@dataclass
class System:
    """Nodes and jobs are applied to the ledger; `dispatching` works on them meanwhile."""

    ledger: Ledger
    ledger_url: str
    worker_url: str
    tmp: Path

    def job(
        self, source: DicomNode, destination: DicomNode, *studies: Study | str, name: str = "job", **spec: Any
    ) -> Job:
        """Applies both nodes and a job of these studies with short retries."""
        for node in (source, destination):
            self.ledger.apply_node(node, now())
        uids = [study if isinstance(study, str) else study.study_instance_uid for study in studies]
        wanted = {
            "source": {"node": source.metadata.name},
            "destination": {"node": destination.metadata.name},
            "selection": {"studies": [{"studyInstanceUID": uid} for uid in uids]},
            "retry": HASTY_RETRY,
        }
        document = {"kind": "TransferJob", "metadata": {"name": name}, "spec": wanted | spec}
        self.ledger.apply_job(TransferJob.model_validate(document), now())
        return Job(self, name)

    @contextmanager
    def dispatching(self) -> Iterator[None]:
        """A dispatcher runs in a thread of this process until the end of the block; its workers are gone then."""
        wake, over = threading.Event(), threading.Event()
        launcher = ProcessLauncher(
            self.worker_url,
            spool=self.tmp / "spool",
            logs=self.tmp / "logs",
            secrets=self.tmp / "secrets",
            on_exit=wake.set,
        )
        dispatcher = Dispatcher(
            self.ledger, launcher, clock=now, random=random.random, monotonic=time.monotonic, settings=SETTINGS
        )
        thread = threading.Thread(target=dispatcher.run, args=(over.is_set, wake), name="dispatcher")
        thread.start()
        try:
            yield
        finally:
            over.set()
            wake.set()
            thread.join()
            dispatcher.shutdown(5, wake)

    def status(self, *arguments: str) -> str:
        """What `adit status` prints."""
        return self.adit("status", *arguments)

    def adit(self, *arguments: str) -> str:
        """What a command that must not fail prints. It runs in this process, which saves a second."""
        environment = {"ADIT_DATABASE_URL": self.ledger_url, "ADIT_DATA": str(self.tmp / "data")}
        result = CliRunner().invoke(app, list(arguments), env=environment)
        assert result.exit_code == 0, result.output
        return result.output


@dataclass(frozen=True)
class Job:
    """One job as the ledger knows it."""

    system: System
    name: str

    @property
    def id(self) -> UUID:
        record = self.system.ledger.job(("default", self.name))
        assert record is not None
        return record.id

    @property
    def ended(self) -> bool:
        record = self.system.ledger.job(("default", self.name))
        return record is not None and record.ended_at is not None

    @property
    def summary(self) -> JobSummary:
        return self.system.ledger.summary(self.id)

    @property
    def task(self) -> TaskRecord:
        """Its only task."""
        [task] = self.system.ledger.tasks(self.id)
        return task

    @property
    def rows(self) -> dict[str, InstanceRecord]:
        tasks = self.system.ledger.tasks(self.id)
        return {row.sop_instance_uid: row for task in tasks for row in self.system.ledger.instances(task.id)}

    def in_state(self, *states: InstanceState) -> set[str]:
        return {uid for uid, row in self.rows.items() if row.state in states}

    def codes(self) -> list[str]:
        """The codes of its tasks' events, oldest first."""
        return [
            event.code for task in self.system.ledger.tasks(self.id) for event in self.system.ledger.events(task.id)
        ]

    def running(self) -> RunningAttempt:
        """Its only running attempt, once its worker has begun."""
        found: list[RunningAttempt] = []

        def begun() -> bool:
            found[:] = [one for one in self.system.ledger.running() if one.job_id == self.id and one.reference]
            return bool(found)

        wait_until(begun, f"a worker of {self.name} has begun")
        [attempt] = found
        return attempt

    def first_fault(self) -> Fault:
        """What its first attempt reported, once it has; `adit status` tells node, instance and cure, too."""

        def faults() -> list[Fault]:
            attempts = [attempt for task in self.proof()["tasks"] for attempt in task["attempts"]]
            told = [fault for attempt in attempts for fault in attempt["faults"]]
            return [Fault(sop_instance_uid=fault.pop("sopInstanceUID"), **fault) for fault in told]

        wait_until(lambda: faults() != [], f"an attempt of {self.name} has failed", 60)
        first = faults()[0]
        assert first.node
        assert first.cure

        def told() -> bool:
            """Once the dispatcher has settled it; on a busy machine another attempt's fault may be told by then."""
            shown = self.system.status(self.name, "--events")
            return any(
                all(part in shown for part in (each.node or "", each.cure, each.sop_instance_uid or ""))
                for each in faults()
            )

        wait_until(told, f"adit status tells the fault of {self.name}", 60)
        return first

    def wait(self, seconds: float = 60) -> JobSummary:
        """Its summary, once it has ended."""
        wait_until(lambda: self.ended, f"{self.name} has ended", seconds)
        return self.summary

    # --- what must hold ---

    def is_green(self, *studies: Study) -> None:
        """Ends in success with every instance of the studies proven, and the proof says the same."""
        expected = {uid for study in studies for uid in study.sop_instance_uids}
        summary = self.wait()
        assert summary.state is JobState.SUCCESS, [str(task.fault) for task in self.system.ledger.tasks(self.id)]
        assert summary.tasks == {TaskState.SUCCESS: len(studies)}
        assert self.in_state(InstanceState.VERIFIED) == expected
        proof = self.proof()
        assert proof["job"]["state"] == "Success"
        proven = [each for task in proof["tasks"] for each in task["instances"] if each["state"] == "Verified"]
        assert Counter(each["sopInstanceUID"] for each in proven) == Counter(expected)
        assert self.codes().count("Success") == len(studies)

    def is_dead(self, code: FaultCode, node: str, *instances: str) -> Fault:
        """Ends in failure, never green, and all that people see names the node, the instances and the cure."""
        assert self.wait().state is JobState.FAILURE
        fault = self.task.fault
        assert fault is not None
        assert (fault.code, fault.node) == (code, node)
        assert fault.cure
        if instances:
            assert fault.sop_instance_uid in instances
        for told in (node, fault.cure, fault.sop_instance_uid or "", str(code)):
            assert told in self.line()
        shown = self.system.status(self.name)
        [task] = self.proof()["tasks"]
        assert (task["state"], task["fault"]["code"], task["fault"]["node"]) == ("Failure", str(code), node)
        for told in (str(code), node, fault.cure, *instances):
            assert told in shown
            assert told in str(task)
        assert [row for row in self.rows.values() if row.sop_instance_uid in instances and row.fault_code != code] == []
        return fault

    def line(self) -> str:
        """Its task as `adit run` and `adit status` show it in their tables."""
        console = Console(width=1000)
        with console.capture() as capture:
            console.print(task_table([self.task]))
        return capture.get()

    def proof(self) -> Any:
        return self.system.ledger.manifest(self.id)


def pid_of(attempt: RunningAttempt) -> int:
    assert attempt.reference is not None
    reference = parse(attempt.reference)
    assert reference is not None
    return reference.pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
