"""C-STORE as SCP, written to disk: our receiver's inbox against pynetdicom's storescp, from the same sender."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from benchmarks.recorded import play
from benchmarks.result import Result
from benchmarks.sender import Address, Sent, instances_of, study_folder
from tests.peers.receiver import Receiver
from tests.peers.server_process import ServerProcess, free_port, listens

_SLICES = 200
_SIDE = 512  # pixels of two bytes
_ROUNDS = 5
_AT_ONCE = 4
_GOAL = 10
_GET_FLAGS, _SET_FLAGS, _TOP_OF_FOLDERS = 0x80086601, 0x40086602, 0x20000  # linux/fs.h


@dataclass(frozen=True, slots=True)
class _SCP:
    address: Address
    pid: int


@dataclass(frozen=True, slots=True)
class _Run:
    rate: float  # files a second
    cpu: float  # ms of the SCP's for each file


def measure(folder: Path) -> Iterator[Result]:
    """Medians of five rounds in turn, each with a fresh process and an empty folder."""
    _spread(folder)
    for study in range(1, _AT_ONCE + 1):
        study_folder(folder / f"study-{study}", _SLICES, side=_SIDE, study=study)
    stock, one, four, synced = [], [], [], []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_AT_ONCE, spawn, _wait_for_all_by, (spawn.Barrier(_AT_ONCE),)) as pool:
        for _ in range(_ROUNDS):
            stock.append(_run(pool, folder, _storescp))
            one.append(_run(pool, folder, _unsynced))
            four.append(_run(pool, folder, _unsynced, _AT_ONCE))
            synced.append(_run(pool, folder, _synced))
    rate, anchor = median(run.rate for run in one), median(run.rate for run in stock)
    cpu, anchor_cpu = median(run.cpu for run in one), median(run.cpu for run in stock)
    yield Result(
        name=f"receive-{_SLICES}-ct",
        ours=rate,
        anchor=anchor,
        unit="files/s",
        goal=f"ratio >= {_GOAL}",
        holds=rate / anchor >= _GOAL,
        anchor_is="pynetdicom's storescp, which leaves it to the system when to write, as ours is told to here",
    )
    yield Result(
        name=f"receive-{_SLICES}-ct-cpu",
        ours=cpu,
        anchor=anchor_cpu,
        unit="CPU ms a file",
        goal=f"ratio <= {1 / _GOAL:g}",
        holds=cpu / anchor_cpu <= 1 / _GOAL,
        anchor_is="the same, as the kernel counted it: a busy machine changes it less than the rate",
    )
    yield Result(
        name=f"receive-{_AT_ONCE}-x-{_SLICES}-ct",
        ours=median(run.rate for run in four),
        anchor=rate,
        unit="files/s",
        goal="ratio >= 1",
        holds=median(run.rate for run in four) >= rate,
        anchor_is="the same receiver, one association",
    )
    yield Result(
        name=f"receive-{_SLICES}-ct-synced",
        ours=median(run.rate for run in synced),
        anchor=anchor,
        unit="files/s",
        goal="none: it is the disk's own pace",
        holds=True,
        anchor_is="pynetdicom's storescp; ours, as it does by itself, has each file on the disk before it answers",
    )


def _run(
    pool: ProcessPoolExecutor,
    folder: Path,
    started: Callable[[Path, Path], AbstractContextManager[_SCP]],
    associations: int = 1,
) -> _Run:
    """Every association from a process of its own, all at once; afterwards every byte must be there."""
    kept = Path(tempfile.mkdtemp(dir=folder))
    with started(folder, kept) as scp:
        before = _cpu(scp.pid)
        sending = [
            pool.submit(_send, scp.address, folder, study, with_others=associations > 1)
            for study in range(1, associations + 1)
        ]
        sent = [each.result() for each in sending]
        cpu = _cpu(scp.pid) - before
    files = _emptied(kept)
    assert files == associations * _SLICES, f"{files} files of whole length"
    seconds = max(each.ended for each in sent) - min(each.begun for each in sent)
    return _Run(files / seconds, cpu * 1000 / files)


_all_ready: Barrier | None = None  # in each process of the pool


def _wait_for_all_by(barrier: Barrier) -> None:
    global _all_ready  # a barrier can be given to a process at its start only
    _all_ready = barrier


def _send(address: Address, folder: Path, study: int, *, with_others: bool) -> Sent:
    assert _all_ready is not None
    instances = instances_of(folder / f"study-{study}", study)
    return play(address, instances, _all_ready.wait if with_others else lambda: None)


def _spread(folder: Path) -> None:
    """Has ext4 put each folder in it where it has most room (chattr +T).

    Else it makes their files where others were removed in the last minutes, say by a test run, and looks at each inode
    of those first: that cost either acceptor 0.1 to 0.4 ms of CPU a file. Other file systems know no such thing.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))[0]
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_FOLDERS))
    except OSError:
        return
    finally:
        os.close(descriptor)


def _emptied(kept: Path) -> int:
    """How many files of whole length there were. They are removed at the end of all, as `_spread` says."""
    files = [path for path in kept.rglob("*") if path.is_file()]
    whole = sum(path.stat().st_size > 2 * _SIDE**2 for path in files)
    for each in files:
        os.truncate(each, 0)
    return whole


def _cpu(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _unsynced(folder: Path, kept: Path, *, sync: bool = False) -> Iterator[_SCP]:
    with Receiver(folder, inbox=kept, inbox_sync=sync, free_bytes=0) as receiver:
        yield _SCP(Address(receiver.aet, receiver.host, receiver.dicom_port), receiver.process.pid)


def _synced(folder: Path, kept: Path) -> AbstractContextManager[_SCP]:
    return _unsynced(folder, kept, sync=True)


@contextmanager
def _storescp(folder: Path, kept: Path) -> Iterator[_SCP]:
    port = free_port()
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(kept), "-q"]
    process = ServerProcess(command, folder / "storescp.log")
    try:
        process.wait_until(lambda: listens(port))
        yield _SCP(Address("ANY-SCP", "127.0.0.1", port), process.pid)
    finally:
        process.kill()
