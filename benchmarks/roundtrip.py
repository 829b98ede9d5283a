"""Orthanc → us → Orthanc, by C-GET and by C-MOVE, against the direct C-MOVE between them that movescu asks for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.result import Result
from benchmarks.rig import Bench, bench, fill, job, node, work
from benchmarks.studies import ct_study, study_uid
from tests.peers.orthanc import Orthanc
from tests.peers.receiver import Receiver

_SLICES = 200
_ROUNDS = 3
_MOVESCU = "/usr/bin/movescu"  # by its path: pynetdicom installs a program of the same name
_GOAL = 0.30
_GOAL_BY_MOVE = 0.35


def measure(folder: Path) -> Iterator[Result]:
    """Wall seconds, medians of three rounds in turn, each into an empty destination."""
    with (
        Orthanc(folder, aet="SOURCE") as source,
        bench(folder) as rig,
        Receiver(folder, database_url=rig.receiver_url) as receiver,
    ):
        fill(source, ct_study(_SLICES, side=512))
        source.knows(receiver.aet, receiver.host, receiver.dicom_port)
        rig.apply(node("by-get", source), node("by-move", source, services=["StudyRootFind", "StudyRootMove"]))
        direct, by_get, by_move = [], [], []
        for round_ in range(_ROUNDS):
            direct.append(_direct(folder, source))
            by_get.append(_ours(folder, "by-get", rig, round_))
            by_move.append(_ours(folder, "by-move", rig, round_))
    anchor = median(direct)
    for name, times, goal in (
        (f"orthanc-to-orthanc-{_SLICES}-ct", by_get, _GOAL),
        (f"orthanc-to-orthanc-{_SLICES}-ct-by-c-move", by_move, _GOAL_BY_MOVE),
    ):
        yield Result(
            name=name,
            ours=median(times),
            anchor=anchor,
            unit="s",
            goal=f"ratio <= {goal}",
            holds=median(times) / anchor <= goal,
            anchor_is="direct C-MOVE of the same study, Orthanc to Orthanc, by movescu",
        )


def _direct(folder: Path, source: Orthanc) -> float:
    with Orthanc(folder, aet="DIRECT") as destination:
        source.knows("DIRECT", destination.host, destination.dicom_port)
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid()}"]
        peer = ["-aec", source.aet, "-aem", "DIRECT", source.host, str(source.dicom_port)]
        begun = time.perf_counter()
        subprocess.run([_MOVESCU, "-S", *keys, *peer], check=True, capture_output=True)
        seconds = time.perf_counter() - begun
        assert destination.counts()["instances"] == _SLICES
    return seconds


def _ours(folder: Path, source: str, rig: Bench, round_: int) -> float:
    name = f"{source}-{round_}"
    with Orthanc(folder, aet="OURS") as destination:
        rig.apply(node(name, destination))
        begun = time.perf_counter()
        worked = work(rig, job(f"roundtrip-{name}", source, name, [study_uid()]))
        seconds = time.perf_counter() - begun
        assert worked.exit_code == 0, worked
        assert worked.verified == destination.counts()["instances"] == _SLICES
    return seconds
