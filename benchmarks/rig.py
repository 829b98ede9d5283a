"""What the benchmarks stand on: the embedded Postgres, real Orthancs filled with a study, and one worker at work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from adit.dispatch.admit import admit
from adit.dispatch.settle import settle
from adit.ledger.connection import engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate
from adit.ledger.records import EndedAttempt, TaskSeed
from adit.model.assignment import Assignment
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob
from tests.peers.orthanc import Orthanc


@dataclass(frozen=True, slots=True)
class Bench:
    """A migrated ledger with durable writes (fsync on), as in production."""

    ledger: Ledger
    worker_url: str
    receiver_url: str

    def apply(self, *nodes: DicomNode) -> None:
        for each in nodes:
            self.ledger.apply_node(each, datetime.now(UTC))


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    with EmbeddedPostgres(folder / "postgres") as postgres:
        migrate(postgres.url)
        connection = engine(postgres.url)
        try:
            yield Bench(Ledger(connection), postgres.worker_url, postgres.receiver_url)
        finally:
            connection.dispose()


def fill(orthanc: Orthanc, files: Iterable[bytes]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(orthanc.upload, files):
            pass


def node(name: str, orthanc: Orthanc, **dimse: Any) -> DicomNode:
    """`dimse` as the resource has it, besides the address."""
    address = {"aeTitle": orthanc.aet, "host": orthanc.host, "port": orthanc.dicom_port}
    return _node(name, dimse=address | dimse)


def web_node(name: str, orthanc: Orthanc) -> DicomNode:
    return _node(name, dicomWeb={"url": orthanc.dicomweb_url})


def folder_node(name: str, folder: Path) -> DicomNode:
    return _node(name, folder={"path": str(folder)})


def _node(name: str, **kind: Any) -> DicomNode:
    spec = {**kind, "limits": {"tasks": 1, "associations": 4}}
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": spec})


def job(name: str, source: str, destination: str, studies: list[str], **spec: Any) -> TransferJob:
    selection = {"studies": [{"studyInstanceUID": uid} for uid in studies]}
    spec |= {"source": {"node": source}, "destination": {"node": destination}, "selection": selection}
    return TransferJob.model_validate({"metadata": {"name": name}, "spec": spec})


# The kernel's high-water mark of the worker's own memory. Not getrusage: that remembers the process that forked it.
_WATCHED = """
import atexit, pathlib, runpy, sys
status = pathlib.Path(sys.argv[1])
atexit.register(lambda: status.write_text(pathlib.Path("/proc/self/status").read_text()))
runpy.run_module("adit_worker", run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class Worked:
    exit_code: int
    peak_rss: int  # bytes
    verified: int


def claimed(
    bench: Bench, transfer: TransferJob, profile: DeidProfile | None = None
) -> tuple[Assignment, dict[str, str]]:
    """Applies a job of one study and claims its task: the attempt, and what its worker finds in its environment.

    The `profile` is the one that the job names.
    """
    now = datetime.now(UTC)
    bench.ledger.apply_job(transfer, now)
    record = bench.ledger.job(transfer.key)
    assert record is not None
    assert transfer.spec.selection.studies is not None
    seeds = [TaskSeed(study.study_instance_uid) for study in transfer.spec.selection.studies]
    bench.ledger.expand(record.id, seeds, now, profile)
    with bench.ledger.admission(now) as admission:
        [claim] = admission.claim(admit(admission.snapshot), lease_seconds=60)
    attempt = claim.assignment
    environment = {
        **os.environ,
        "ADIT_ATTEMPT": str(attempt.attempt_id),
        "ADIT_ATTEMPT_TOKEN": str(attempt.token),
        "ADIT_DATABASE_URL": bench.worker_url,
        "ADIT_RELAY_HOST": "127.0.0.1",
        "MALLOC_ARENA_MAX": "2",  # as both launchers have it
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an image has its bytecode
    return attempt, environment


def settled(bench: Bench) -> EndedAttempt:
    """The one attempt that has ended, with what becomes of it written down."""
    [ended] = bench.ledger.ended(10)
    moment = datetime.now(UTC)
    bench.ledger.settle(ended.attempt_id, settle(ended, now=moment, random=Random(1).random), moment)
    return ended


def work(
    bench: Bench, transfer: TransferJob, profile: DeidProfile | None = None, *, secrets: Path | None = None
) -> Worked:
    """Runs the worker process of a job of one study to its end."""
    _, environment = claimed(bench, transfer, profile)
    environment |= {} if secrets is None else {"ADIT_SECRETS": str(secrets)}
    with tempfile.NamedTemporaryFile("r") as status:
        command = [sys.executable, "-c", _WATCHED, status.name]
        exit_code = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode
        [peak] = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE)
    return Worked(exit_code, int(peak) * 1024, settled(bench).verified)
