"""How fast a worker starts, and what a small task costs: a cluster starts twenty of them at once.

From exec to the first byte towards the source, then the CPU seconds of a whole attempt at four small instances from
Orthanc to Orthanc; both beside a bare `python3 -c pass`, whose share nobody can take away. The worker's image has its
own measure by the means of this module: benchmarks/cluster/worker_image.py.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from adit.model.dicom_node import DicomNode
from benchmarks.result import Result
from benchmarks.rig import Bench, bench, claimed, fill, job, node, settled
from benchmarks.studies import ct_study, study_uid
from tests.peers.orthanc import Orthanc

ROUNDS = 7
_INSTANCES = 4
START = 6.0
SECONDS = 0.6
_WORKER = (sys.executable, "-m", "adit_worker")


@dataclass(frozen=True, slots=True)
class _Used:
    wall: float
    cpu: float


def measure(folder: Path) -> Iterator[Result]:
    """Medians of seven rounds in turn; a first one, which fills the caches, does not count."""
    with (
        bench(folder) as rig,
        Orthanc(folder, aet="SOURCE") as source,
        Orthanc(folder, aet="DESTINATION") as destination,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        fill(source, ct_study(_INSTANCES, side=64))
        rig.apply(node("source", source), node("destination", destination), silent(listener))
        typed = shutil.which("python3") or sys.executable
        rounds = [
            (run([typed, "-c", "pass"]), run([sys.executable, "-c", "pass"]), start(rig, listener, n), _task(rig, n))
            for n in range(ROUNDS + 1)
        ][1:]
    first_byte = median(start for _, _, start, _ in rounds)
    yield Result(
        name="worker-exec-to-first-dimse-byte",
        ours=first_byte,
        anchor=median(bare.wall for bare, _, _, _ in rounds),
        unit="s",
        goal=f"ratio <= {START}",
        holds=first_byte / median(bare.wall for bare, _, _, _ in rounds) <= START,
        anchor_is=f"python3 -c pass, as found on PATH: {'a wrapper' if _is_wrapper(typed) else 'the interpreter'}",
    )
    yield Result(
        name="worker-exec-to-first-dimse-byte-own-interpreter",
        ours=first_byte,
        anchor=median(own.wall for _, own, _, _ in rounds),
        unit="s",
        goal=f"<= {SECONDS} s",
        holds=first_byte <= SECONDS,
        anchor_is="the worker's own interpreter, -c pass",
    )
    for name, unit in (("cpu", "CPU s"), ("wall", "s")):
        ours = median(getattr(task, name) for _, _, _, task in rounds)
        yield Result(
            name=f"worker-{_INSTANCES}-instances-{name}",
            ours=ours,
            anchor=median(getattr(own, name) for _, own, _, _ in rounds),
            unit=unit,
            goal=f"<= {SECONDS} s",
            holds=ours <= SECONDS,
            anchor_is="the worker's own interpreter, -c pass",
        )


def start(
    rig: Bench,
    listener: socket.socket,
    round_: int,
    command: Sequence[str] = _WORKER,
    fixed: Mapping[str, str] | None = None,
) -> float:
    """Seconds until a source hears from a worker; it then hangs up.

    With a `fixed` environment the worker finds that and what is its attempt's, and nothing else of this process.
    """
    _, environment = claimed(
        rig, job(f"start-{round_}", "silent", "destination", [study_uid()], retry={"maxAttempts": 1})
    )
    if fixed is not None:
        environment = {**fixed, **{name: environment[name] for name in environment if name.startswith("ADIT_")}}
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as worker:
        connected, _ = listener.accept()
        with connected:
            assert connected.recv(1) == b"\x01"  # A-ASSOCIATE-RQ
            seconds = time.perf_counter() - begun
        while worker.poll() is None:  # it tries again, and would wait for an answer
            if select.select([listener], [], [], 0.05)[0]:
                listener.accept()[0].close()
    settled(rig)
    return seconds


def _task(rig: Bench, round_: int) -> _Used:
    _, environment = claimed(rig, job(f"task-{round_}", "source", "destination", [study_uid()]))
    used = run(_WORKER, environment)
    assert settled(rig).verified == _INSTANCES
    return used


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> _Used:
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return _Used(seconds, usage.ru_utime + usage.ru_stime)


def _is_wrapper(program: str) -> bool:
    with Path(program).open("rb") as file:
        return file.read(2) == b"#!"


def silent(listener: socket.socket) -> DicomNode:
    host, port = listener.getsockname()
    spec = {"dimse": {"aeTitle": "SILENT", "host": host, "port": port}, "limits": {"tasks": 1, "associations": 1}}
    return DicomNode.model_validate({"metadata": {"name": "silent"}, "spec": spec})
