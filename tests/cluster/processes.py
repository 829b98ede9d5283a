"""The processes of a pod, as the box sees them: so that one can be killed, or frozen, as a kernel or a crash would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAUSE = "/pause"


def processes_of(pod: Any) -> list[int]:
    """The pids of the pod's own programs, the oldest first; the sandbox's pause process is not one."""
    marks = (pod["metadata"]["uid"], pod["metadata"]["uid"].replace("-", "_"))
    return [pid for pid in _pids() if _is_of(pid, marks)]


def kill_processes(pod: Any, number: signal.Signals = signal.SIGKILL) -> int:
    """How many were there. The kubelet restarts the container, where the pod says so."""
    found = processes_of(pod)
    for pid in found:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return len(found)


@dataclass(frozen=True)
class Frozen:
    """A pod's program that stands still, and its shim, without which neither the kubelet nor anybody can end it."""

    program: int
    shim: int

    def thaw_program(self) -> None:
        os.kill(self.program, signal.SIGCONT)

    @property
    def exit_code(self) -> int | None:
        """Of the program; None while it has not ended. It cannot be forgotten: its shim does not ask for it."""
        state = _stat(self.program)
        return os.waitstatus_to_exitcode(int(state[_EXIT_CODE])) if state[_STATE] == "Z" else None


@contextmanager
def frozen_beyond_reach(pod: Any) -> Iterator[Frozen]:
    """Meanwhile the pod's one program stands still as on a machine without a network: nobody ends it either."""
    (program,) = processes_of(pod)
    shim = int(_stat(program)[_PARENT])
    assert b"containerd-shim" in Path(f"/proc/{shim}/cmdline").read_bytes(), f"{shim} is not a shim"
    os.kill(shim, signal.SIGSTOP)
    try:
        os.kill(program, signal.SIGSTOP)
        yield Frozen(program, shim)
    finally:
        os.kill(program, signal.SIGCONT)  # a zombie takes it, too
        os.kill(shim, signal.SIGCONT)


_STATE, _PARENT, _EXIT_CODE = 0, 1, 49


def _stat(pid: int) -> list[str]:
    """What follows the program's name in proc's stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    yield from sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _is_of(pid: int, marks: tuple[str, ...]) -> bool:
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return command != _PAUSE and any(mark in groups for mark in marks)
