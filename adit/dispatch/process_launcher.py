"""Attempts as processes of this machine: `python -m adit_worker`, one for each. Linux only (/proc, pidfd).

The launcher that `adit run` and `adit up` give to the dispatcher. Workers live in sessions of their
own, so that neither a Ctrl-C in the terminal nor the death of the dispatcher touches them; a later
dispatcher finds them by the reference that each wrote into the ledger (host, pid, start time).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from adit.dispatch.launcher import LaunchFailed
from adit.ledger.records import Claim, EndedAttempt, RunningAttempt
from adit.model.outcome import Fault
from adit.model.process_reference import ProcessReference, parse, start_ticks

_REMEMBERED: Final = 1000  # ended children whose attempts may still be called running by the ledger
_STDERR: Final = 2


class ProcessLauncher:
    """Starts workers as child processes and calls `on_exit`, from a thread, when one has ended."""

    def __init__(
        self,
        database_url: str,
        *,
        spool: Path,
        secrets: Path | None = None,
        logs: Path | None = None,
        on_exit: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`database_url` is the worker role's. Without `logs` workers write to our standard error.

        `environment` is what workers inherit; this process's own if absent.
        """
        self._environment = dict(os.environ if environment is None else environment)
        self._environment |= {
            "ADIT_DATABASE_URL": database_url,
            "ADIT_SPOOL": str(spool),
            "ADIT_RELAY_HOST": self._environment.get("ADIT_RELAY_HOST") or "127.0.0.1",  # a receiver of this machine
            "MALLOC_ARENA_MAX": "2",  # else each of a worker's threads keeps an arena, and memory grows with them
        }
        if secrets is not None:
            self._environment["ADIT_SECRETS"] = str(secrets)
        self._logs = logs
        self._on_exit = on_exit
        self._host = socket.gethostname()
        self._children: dict[int, ProcessReference] = {}  # by attempt id
        self._ended: deque[int] = deque()  # attempt ids of children that were waited for, oldest first

    def launch(self, claim: Claim) -> None:
        attempt_id = claim.assignment.attempt_id
        if attempt_id in self._children:
            return
        identity = {"ADIT_ATTEMPT": str(attempt_id), "ADIT_ATTEMPT_TOKEN": str(claim.assignment.token)}
        try:
            child = self._start(self._environment | identity, attempt_id)
        except OSError as error:
            raise LaunchFailed(f"No worker process could be started: {error.strerror}.") from error
        # Nobody waits for the child yet, so its entry in /proc is there even if it has ended.
        self._children[attempt_id] = ProcessReference(self._host, child.pid, start_ticks(_stat(child.pid)))
        threading.Thread(
            target=self._await_exit, args=(attempt_id, child), name=f"attempt-{attempt_id}", daemon=True
        ).start()

    def stop(self, attempt: RunningAttempt) -> None:
        self._signal(attempt, signal.SIGTERM)

    def kill(self, attempt: RunningAttempt) -> None:
        self._signal(attempt, signal.SIGKILL)

    def alive(self, attempt: RunningAttempt) -> bool | None:
        reference = self._reference(attempt)
        return None if reference is None else _runs(reference)

    def epitaph(self, attempt: RunningAttempt) -> Fault | None:
        """A process leaves nothing behind that says more than that it is gone."""
        return None

    def interruption(self, ended: EndedAttempt) -> Fault | None:
        """A signal says nothing of who sent it."""
        return None

    def closed(self) -> frozenset[str]:
        return frozenset()

    def own(self) -> frozenset[int]:
        return frozenset(attempt_id for attempt_id, child in list(self._children.items()) if _runs(child))

    def stop_own(self) -> None:
        self._signal_own(signal.SIGTERM)

    def kill_own(self) -> None:
        self._signal_own(signal.SIGKILL)

    def reap(self, running: Sequence[RunningAttempt]) -> None:
        """Exit codes are collected by the waiting threads; here old children are forgotten."""
        while len(self._ended) > _REMEMBERED:
            self._children.pop(self._ended.popleft(), None)

    def _start(self, environment: Mapping[str, str], attempt_id: int) -> subprocess.Popen[bytes]:
        output = _STDERR if self._logs is None else _open_log(self._logs, attempt_id)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "adit_worker"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            if output != _STDERR:
                os.close(output)

    def _await_exit(self, attempt_id: int, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        self._ended.append(attempt_id)
        self._on_exit()

    def _reference(self, attempt: RunningAttempt) -> ProcessReference | None:
        """Our own child, or what the worker wrote about itself, if that is of this machine."""
        child = self._children.get(attempt.attempt_id)
        if child is not None or attempt.reference is None:
            return child
        reference = parse(attempt.reference)
        return reference if reference is not None and reference.host == self._host else None

    def _signal(self, attempt: RunningAttempt, number: signal.Signals) -> None:
        reference = self._reference(attempt)
        if reference is not None:
            _send(reference, number)

    def _signal_own(self, number: signal.Signals) -> None:
        for child in list(self._children.values()):
            _send(child, number)


def _send(reference: ProcessReference, number: signal.Signals) -> None:
    """Signals this very process, if it is still there."""
    try:
        process = os.pidfd_open(reference.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor pins the process: checked after it was opened, the identity cannot change
        # any more, and a process that took over the pid is never hit.
        if _runs(reference):
            signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return
    finally:
        os.close(process)


def _open_log(folder: Path, attempt_id: int) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / f"attempt-{attempt_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _runs(reference: ProcessReference) -> bool:
    """Whether this very process exists and can still act; a zombie cannot."""
    try:
        stat = _stat(reference.pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    state = stat.rpartition(")")[2].split()[0]
    return start_ticks(stat) == reference.start_ticks and state not in ("Z", "X")


def _stat(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
