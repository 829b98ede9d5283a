"""Memory: a worker needs no more for a study of 4 GB than for one of 1 GB, on any road, nor a receiver for many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from adit.model.dicom_node import DicomNode
from benchmarks.result import Result
from benchmarks.rig import Bench, bench, fill, folder_node, job, node, web_node, work
from benchmarks.sender import in_memory, instances_of, send, study_folder
from benchmarks.studies import ct_study, study_uid
from tests.peers.orthanc import Orthanc
from tests.peers.receiver import Receiver

_MEBI = 2**20
_SIDE = 1024  # 2 MiB of pixels
_LIMIT = 200
_SENDERS = 20
_EACH = 5  # objects
_RECEIVERS_LIMIT = 150
_Ends = tuple[DicomNode, DicomNode]


def measure(folder: Path) -> Iterator[Result]:
    """Peak RSS of the process as the kernel counted it."""
    yield _receiver(folder)
    for name, ends in _ROADS.items():
        small, big = (_peak(folder / name / str(number), number, ends) / _MEBI for number in (500, 2000))
        yield Result(
            name=f"worker-rss-4-gb-study-{name}",
            ours=big,
            anchor=small,
            unit="MiB",
            goal=f"ours <= {_LIMIT}, ratio <= 1.10",
            holds=big <= _LIMIT and big / small <= 1.10,
            anchor_is="the same worker on a 1 GB study",
        )


def _peak(folder: Path, number: int, ends: Callable[[ExitStack, Path, Bench, int], _Ends]) -> int:
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        rig = stack.enter_context(bench(folder / "ledger"))
        source, sink = ends(stack, folder, rig, number)
        rig.apply(source, sink)
        worked = work(rig, job("memory", source.metadata.name, sink.metadata.name, [study_uid()]))
        assert worked.exit_code == 0, worked
        assert worked.verified == number
    return worked.peak_rss


def _filled(stack: ExitStack, folder: Path, number: int) -> Orthanc:
    orthanc = stack.enter_context(Orthanc(folder, aet="SOURCE", dicomweb=True))
    fill(orthanc, ct_study(number, side=_SIDE))
    return orthanc


def _get_store(stack: ExitStack, folder: Path, rig: Bench, number: int) -> _Ends:
    sink = stack.enter_context(Orthanc(folder, aet="SINK"))
    return node("source", _filled(stack, folder, number)), node("sink", sink)


def _move_store(stack: ExitStack, folder: Path, rig: Bench, number: int) -> _Ends:
    source = _filled(stack, folder, number)
    receiver = stack.enter_context(Receiver(folder, database_url=rig.receiver_url))
    source.knows("ADIT", receiver.host, receiver.dicom_port)
    sink = stack.enter_context(Orthanc(folder, aet="SINK"))
    return node("source", source, services=["StudyRootFind", "StudyRootMove"]), node("sink", sink)


def _wado_stow(stack: ExitStack, folder: Path, rig: Bench, number: int) -> _Ends:
    sink = stack.enter_context(Orthanc(folder, aet="SINK", dicomweb=True))
    return web_node("source", _filled(stack, folder, number)), web_node("sink", sink)


def _folder_folder(stack: ExitStack, folder: Path, rig: Bench, number: int) -> _Ends:
    source = study_folder(folder / "source", number, side=_SIDE)
    (folder / "sink").mkdir()
    return folder_node("source", source), folder_node("sink", folder / "sink")


_ROADS: dict[str, Callable[[ExitStack, Path, Bench, int], _Ends]] = {
    "c-get-c-store": _get_store,
    "c-move-c-store": _move_store,
    "wado-rs-stow-rs": _wado_stow,
    "folder-folder": _folder_folder,
}


def _receiver(folder: Path) -> Result:
    """Objects of 8 MiB into its inbox, on all associations at once; and before them one CT on one."""
    one = in_memory(instances_of(study_folder(folder / "one", 1)))
    big = in_memory(instances_of(study_folder(folder / "big", _EACH, side=2048)))
    with Receiver(folder, inbox=folder / "inbox", inbox_sync=False, free_bytes=0) as receiver:
        send(receiver, one)
        idle = receiver.peak_memory() / _MEBI
        with ThreadPoolExecutor(_SENDERS) as pool:
            for _ in pool.map(lambda _: send(receiver, big), range(_SENDERS)):
                pass
        peak = receiver.peak_memory() / _MEBI
        assert receiver.fates("taken") == 1 + _SENDERS * _EACH
    return Result(
        name=f"receiver-rss-{_SENDERS}-associations",
        ours=peak,
        anchor=idle,
        unit="MiB",
        goal=f"ours <= {_RECEIVERS_LIMIT}",
        holds=peak <= _RECEIVERS_LIMIT,
        anchor_is="the same receiver after a single CT",
    )
