"""A study to a bucket and from it, by a worker with its start and its proof; and the worker's memory on a big one.

The anchor is what anybody would write with boto3: four threads, a request for each file, and nothing proven.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adit.model.dicom_node import DicomNode
from benchmarks.result import Result
from benchmarks.rig import Bench, bench, job, work
from benchmarks.studies import ct_study, study_uid
from tests.peers.seaweedfs import OWNER, Bucket, SeaweedFS

_MEBI = 2**20
_FILES = 200
_THREADS = 4
_ROUNDS = 3
_LIMIT = 200
_Round = tuple[float, float, float, float]  # seconds: there, back, and the anchors of both


def measure(folder: Path) -> Iterator[Result]:
    """The best of three rounds in turn."""
    OWNER.write(folder / "secrets" / "owner")
    os.environ |= {"ADIT_SECRETS": str(folder / "secrets"), "MALLOC_ARENA_MAX": "2"}  # as a launcher has it
    with SeaweedFS(folder) as server:
        yield from _rates(folder, server)
        small, big = (_peak(folder, server, number) / _MEBI for number in (500, 2000))
    yield Result(
        name="bucket-to-bucket-rss-4-gb-study",
        ours=big,
        anchor=small,
        unit="MiB",
        goal=f"ours <= {_LIMIT}, ratio <= 1.10",
        holds=big <= _LIMIT and big / small <= 1.10,
        anchor_is="the same worker on a 1 GB study",
    )


def _rates(folder: Path, server: SeaweedFS) -> Iterator[Result]:
    """512 x 512 CT of 0.53 MB, from a folder and to one."""
    files = folder / "files"
    files.mkdir()
    for number, content in enumerate(ct_study(_FILES, side=512)):
        (files / f"{number}.dcm").write_bytes(content)
    rounds: list[_Round] = []
    with bench(folder / "rates") as rig:
        for number in range(_ROUNDS):
            (sink := folder / f"back-{number}").mkdir()
            rounds.append(_round(rig, server, number, files, sink))
    there, back, plain_there, plain_back = (list(times) for times in zip(*rounds, strict=True))
    for name, ours, anchor in (("folder-to-bucket", there, plain_there), ("bucket-to-folder", back, plain_back)):
        yield Result(
            name=f"{name}-{_FILES}-ct",
            ours=min(ours),
            anchor=min(anchor),
            unit="s",
            goal="ours <= anchor + 3 s",
            holds=min(ours) <= min(anchor) + 3,
            anchor_is="boto3 by four threads, nothing proven",
        )


def _round(rig: Bench, server: SeaweedFS, number: int, files: Path, back: Path) -> _Round:
    bucket, plain = server.bucket(), server.bucket()
    paths = sorted(files.iterdir())
    source, lake, sink = f"source-{number}", f"lake-{number}", f"sink-{number}"
    rig.apply(_folder(source, files), _bucket(lake, server, bucket), _folder(sink, back))
    plain_there = _timed(lambda: _each(paths, lambda path: plain.put(path.name, path.read_bytes())))
    there = _timed(lambda: _moved(rig, f"there-{number}", source, lake))
    plain_back = _timed(lambda: _each(paths, lambda path: plain.get(path.name)))
    return there, _timed(lambda: _moved(rig, f"back-{number}", lake, sink)), plain_there, plain_back


def _peak(folder: Path, server: SeaweedFS, number: int) -> int:
    bucket = server.bucket()
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda one: bucket.put(f"in/{one[0]}", one[1]), enumerate(ct_study(number, side=1024))):
            pass
    with bench(folder / f"memory-{number}") as rig:
        rig.apply(_bucket("lake", server, bucket, prefix="in"), _bucket("copy", server, bucket, prefix="out"))
        worked = work(rig, job("memory", "lake", "copy", [study_uid()]))
    assert (worked.exit_code, worked.verified) == (0, number), worked
    return worked.peak_rss


def _moved(rig: Bench, name: str, source: str, destination: str) -> None:
    worked = work(rig, job(name, source, destination, [study_uid()]))
    assert (worked.exit_code, worked.verified) == (0, _FILES), worked


def _each(paths: Iterable[Path], request: Callable[[Path], object]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(request, paths):
            pass


def _timed(work_: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work_()
    return time.perf_counter() - begun


def _folder(name: str, path: Path) -> DicomNode:
    return _node(name, {"folder": {"path": str(path)}})


def _bucket(name: str, server: SeaweedFS, bucket: Bucket, **spec: object) -> DicomNode:
    place = {"bucket": bucket.name, "endpoint": server.url, "credentials": {"secretName": "owner"}, **spec}
    return _node(name, {"s3": place})


def _node(name: str, kind: dict[str, object]) -> DicomNode:
    spec = {**kind, "limits": {"tasks": 1, "associations": _THREADS}}
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": spec})
