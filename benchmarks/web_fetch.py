"""WADO-RS of a study from Orthanc, against what curl gets out of the same server and throws away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from adit.dicom.dicomweb.fetch import ACCEPT
from adit.dicom.dicomweb.node import DicomWebNode
from adit.dicom.node import Instance, Wanted
from adit.model.assignment import Share
from adit.model.dicom_web import DicomWeb
from benchmarks.result import Result
from benchmarks.rig import fill
from benchmarks.studies import ct_study, study_uid
from tests.peers.orthanc import Orthanc

_SLICES = 200
_ROUNDS = 9
_GOAL = 0.7


def measure(folder: Path) -> Iterator[Result]:
    """MB a second, medians of nine rounds in turn; ours are instances whose identity was read."""
    with Orthanc(folder, aet="SOURCE", dicomweb=True) as source:
        fill(source, ct_study(_SLICES, side=512))
        size = _ours(source)[1]
        curl, ours = [], []
        for _ in range(_ROUNDS):
            curl.append(_curl(source))
            ours.append(_ours(source)[0])
    rate, anchor = size / median(ours) / 1e6, size / median(curl) / 1e6
    yield Result(
        name="wado-rs-200-ct",
        ours=rate,
        anchor=anchor,
        unit="MB/s",
        goal=f"ratio >= {_GOAL}",
        holds=rate / anchor >= _GOAL,
        anchor_is="curl, of the same study from the same Orthanc, thrown away",
    )


def _curl(source: Orthanc) -> float:
    url = f"{source.dicomweb_url}/studies/{study_uid()}"
    begun = time.perf_counter()
    subprocess.run(["curl", "--silent", "--fail", "-o", "/dev/null", "-H", f"Accept: {ACCEPT}", url], check=True)
    return time.perf_counter() - begun


def _ours(source: Orthanc) -> tuple[float, int]:
    node = DicomWebNode("source", DicomWeb(url=source.dicomweb_url), Share())
    sizes = []

    def take(instance: Instance) -> None:
        sizes.append(instance.size)
        instance.close()

    begun = time.perf_counter()
    report = node.fetch(Wanted(study_uid()), take)
    seconds = time.perf_counter() - begun
    assert (report.completed, report.faults) == (_SLICES, ())
    return seconds, sum(sizes)
