"""The processes of a pod, as the box sees them: so that one can be killed, or frozen, as a kernel or a crash would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
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


def _pids() -> Iterator[int]:
    yield from sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _is_of(pid: int, marks: tuple[str, ...]) -> bool:
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return command != _PAUSE and any(mark in groups for mark in marks)
