"""The worker's memory: a 4 GB study must not need more than a 1 GB one, and neither more than 200 MB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Result
from benchmarks.rig import bench, fill, job, node, work
from benchmarks.studies import ct_study, study_uid
from tests.peers.orthanc import Orthanc

_MEBI = 2**20
_SIDE = 1024  # 2 MiB of pixels
_LIMIT = 200


def measure(folder: Path) -> Iterator[Result]:
    """Peak RSS of the worker process as the kernel counted it, Orthanc → worker → Orthanc."""
    small, big = (_peak(folder, number) / _MEBI for number in (500, 2000))
    yield Result(
        name="worker-rss-4-gb-study",
        ours=big,
        anchor=small,
        unit="MiB",
        goal=f"ours <= {_LIMIT}, ratio <= 1.10",
        holds=big <= _LIMIT and big / small <= 1.10,
        anchor_is="the same worker on a 1 GB study",
    )


def _peak(folder: Path, number: int) -> int:
    with (
        Orthanc(folder, aet="SOURCE") as source,
        Orthanc(folder, aet="SINK") as sink,
        bench(folder / str(number)) as rig,
    ):
        fill(source, ct_study(number, side=_SIDE))
        rig.apply(node("source", source), node("sink", sink))
        worked = work(rig, job("memory", "source", "sink", [study_uid()]))
        assert worked.exit_code == 0, worked
        assert worked.verified == number
    return worked.peak_rss
