"""Orthanc → us → Orthanc against the direct Orthanc → Orthanc C-MOVE that DCMTK's movescu asks for."""

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

_SLICES = 200
_ROUNDS = 3
_MOVESCU = "/usr/bin/movescu"  # by its path: pynetdicom installs a program of the same name
_GOAL = 0.40


def measure(folder: Path) -> Iterator[Result]:
    """Wall seconds, medians of three rounds in turn, each into an empty destination."""
    with Orthanc(folder, aet="SOURCE") as source, bench(folder) as rig:
        fill(source, ct_study(_SLICES, side=512))
        direct, ours = [], []
        for round_ in range(_ROUNDS):
            direct.append(_direct(folder, source))
            ours.append(_ours(folder, source, rig, round_))
    seconds, anchor = median(ours), median(direct)
    yield Result(
        name="orthanc-to-orthanc-200-ct",
        ours=seconds,
        anchor=anchor,
        unit="s",
        goal=f"ratio <= {_GOAL}",
        holds=seconds / anchor <= _GOAL,
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


def _ours(folder: Path, source: Orthanc, rig: Bench, round_: int) -> float:
    with Orthanc(folder, aet="OURS") as destination:
        rig.apply(node("source", source), node(f"ours-{round_}", destination))
        transfer = job(f"roundtrip-{round_}", "source", f"ours-{round_}", [study_uid()])
        begun = time.perf_counter()
        worked = work(rig, transfer)
        seconds = time.perf_counter() - begun
        assert worked.exit_code == 0, worked
        assert worked.verified == destination.counts()["instances"] == _SLICES
    return seconds
