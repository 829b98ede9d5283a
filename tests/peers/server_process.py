"""A server program as a child process: started until it answers, ended by its own pid.

Used by `Orthanc` and `Storescp`, and free for any test that runs a program of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Final

_CHOICE: Final = SystemRandom()  # a test's seed must not give two processes the same port


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on just now.

    None of those that the kernel gives to whoever connects: one of our own connections would take it before the server.
    """
    while True:
        port = _CHOICE.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    """Returns as soon as `condition` holds; AssertionError naming `what` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(0.02)


class ServerProcess:
    """One program, its log file, and its life."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, answers: Callable[[], bool], seconds: float = 90.0) -> None:
        """Returns once it answers; AssertionError with the end of its log if it dies or never does."""
        try:
            wait_until(lambda: not self.running or answers(), "the server answers", seconds)
            if not self.running:
                raise AssertionError(f"the server ended with code {self._process.returncode}")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self._log.read_text(errors='replace')[-2000:]}") from error

    def pause(self) -> None:
        """Freezes it: it holds its connections and answers nothing.

        Each thread stops when it comes to take note of the signal: until the last has, it may answer.
        """
        self._process.send_signal(signal.SIGSTOP)
        wait_until(self._is_stopped, "it is frozen")

    def _is_stopped(self) -> bool:
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        try:
            return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)
        except OSError:  # a thread ended meanwhile
            return False

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait(seconds)

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM, and SIGKILL when that does not help in time."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()
