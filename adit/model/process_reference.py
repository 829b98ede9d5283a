"""How a worker process names itself in the ledger, so that its launcher finds it again, or knows it is gone.

Written by `adit_worker` when it begins, read by the dispatcher's process launcher. The start time
is part of it because the kernel gives a dead process's id to others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_REFERENCE: Final = re.compile(r"^(?P<host>[^/]+)/(?P<pid>[1-9][0-9]*)/(?P<start_ticks>[0-9]+)$")


@dataclass(frozen=True, slots=True)
class ProcessReference:
    """A process for good: no other one, on any machine, ever has the same three values."""

    host: str
    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat, in clock ticks since the machine started


def make(host: str, pid: int, start_ticks: int) -> str:
    """The reference `<host>/<pid>/<start ticks>`."""
    return f"{host}/{pid}/{start_ticks}"


def parse(reference: str) -> ProcessReference | None:
    """What `make` made, or None when the reference names something else (a Kubernetes Job, say)."""
    match = _REFERENCE.match(reference)
    return None if match is None else ProcessReference(match["host"], int(match["pid"]), int(match["start_ticks"]))


def start_ticks(stat: str) -> int:
    """The start time in the text of /proc/<pid>/stat (proc(5), field 22).

    The second field is the program's name in parentheses and may itself hold blanks and parentheses.
    """
    return int(stat.rpartition(")")[2].split()[19])
