"""From every kind of node to every kind of node, files a second: `python -m benchmarks.matrix [PICTURE]`.

Each cell is a study that a worker moves, its start and its proof included, and the destination is looked at past the
code under test. The anchor of all is Orthanc's own C-MOVE to another Orthanc.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.result import Result
from benchmarks.rig import Bench, bench, job, work
from benchmarks.studies import ct_study, study_uid
from tests.ends import DESTINATIONS, SOURCES, Digests, Ends, digests_of
from tests.peers.orthanc import Orthanc

_SLICES: Final = 200
_ROUNDS: Final = 3
_MOVESCU: Final = "/usr/bin/movescu"  # by its path: pynetdicom installs a program of the same name
_ANCHOR: Final = "direct C-MOVE of the same study, Orthanc to Orthanc, by movescu"

Rates = Mapping[tuple[str, str], float]


def measure(folder: Path) -> Iterator[Result]:
    """Medians of three rounds, each through all cells in turn, and each cell to an empty destination."""
    files = list(ct_study(_SLICES, side=512))
    expected = digests_of(files)
    seconds: dict[tuple[str, str], list[float]] = {cell: [] for cell in product(SOURCES, DESTINATIONS)}
    direct = []
    with Ends(folder) as ends, bench(folder) as rig, ends.receiving(rig.receiver_url):
        os.environ |= {"ADIT_SECRETS": str(ends.secrets), "MALLOC_ARENA_MAX": "2"}  # as a launcher has it
        ends.fill(files)
        for round_ in range(_ROUNDS):
            direct.append(_direct(folder, ends.pacs))
            for number, cell in enumerate(seconds):
                seconds[cell].append(_moved(rig, ends, f"matrix-{round_}-{number}", *cell, expected))
    anchor = _SLICES / median(direct)
    for (source, destination), times in seconds.items():
        rate = _SLICES / median(times)
        yield Result(
            name=f"matrix {source} to {destination}",
            ours=rate,
            anchor=anchor,
            unit="files/s",
            goal="all arrived, and ratio >= 1",
            holds=rate >= anchor,
            anchor_is=_ANCHOR,
        )


def _moved(rig: Bench, ends: Ends, name: str, source: str, destination: str, expected: Digests) -> float:
    there = ends.destination(destination)
    here = ends.source(source)
    rig.apply(here, there.node)
    transfer = job(name, here.metadata.name, there.node.metadata.name, [study_uid()])
    begun = time.perf_counter()
    worked = work(rig, transfer)
    seconds = time.perf_counter() - begun
    assert (worked.exit_code, worked.verified) == (0, _SLICES), (source, destination, worked)
    assert there.holds() == expected, (source, destination)
    return seconds


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


def draw(rates: Rates, anchor: float, picture: Path) -> None:
    """A table whose cells are the darker the faster."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    table = [[rates[source, destination] for destination in DESTINATIONS] for source in SOURCES]
    figure, axes = pyplot.subplots(figsize=(7, 4.4), layout="constrained")
    shown = axes.imshow(table, cmap="Greens", vmin=0, aspect="auto")
    axes.set_xticks(range(len(DESTINATIONS)), DESTINATIONS)
    axes.set_yticks(range(len(SOURCES)), SOURCES)
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    fastest = max(map(max, table))
    for (row, source), (column, destination) in product(enumerate(SOURCES), enumerate(DESTINATIONS)):
        rate = rates[source, destination]
        colour = "white" if rate > 0.6 * fastest else "black"
        axes.text(column, row, f"{rate:.0f}", ha="center", va="center", color=colour, fontsize=13)
    figure.colorbar(shown, label="files/s")
    figure.suptitle(
        f"{_SLICES} CT of 0.53 MB, files a second: worker's start, transfer, proof\n"
        f"(a PACS's own C-MOVE on the same machine: {anchor:.0f})",
        fontsize=10,
    )
    figure.savefig(picture, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main(picture: Path | None) -> None:
    results = []
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as folder:
        for result in measure(Path(folder)):
            print(result.line(), flush=True)
            results.append(result)
    if picture is not None:
        rates = dict(zip(product(SOURCES, DESTINATIONS), (result.ours for result in results), strict=True))
        draw(rates, results[0].anchor, picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
