"""A process that runs beside `adit up` or `adit run`, on the same ledger: the REST API, the receiver.

Processes of their own, because they stand above the command line in the order of our packages, and because their
load must not slow the dispatcher. A child gets what it must know by its environment, its listening socket by
inheritance, and a pipe whose end, however we die, is its end too. One that ends by itself is started again.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Final

from adit.cli.console import fail

_LONGEST_PAUSE: Final = 30.0


def listening_socket(listen: str, option: str, *, host: str | None = None) -> socket.socket:
    """For HOST:PORT, or PORT alone where there is a default `host`. Ends the command when it cannot be had."""
    given, colon, port = listen.rpartition(":")
    if not (colon or host) or not port.isdecimal() or int(port) > 65535:
        fail(f"{option} must be HOST:PORT, such as 127.0.0.1:8080")
    address = (given or host or "").removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, int(port)), family=family, backlog=512)
    except OSError as error:
        fail(f"Cannot listen on {listen}: {error.strerror or error}. Choose another address with {option}.")


def shown(listening: socket.socket) -> str:
    """Its address, for people."""
    host, port = listening.getsockname()[:2]
    return f"{f'[{host}]' if ':' in host else host}:{port}"


class ChildProcess:
    """Runs `python -m MODULE` from its making to `end`. `name` is for people."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        listening: socket.socket,
        said: Callable[[str], None],
        *,
        errors: IO[bytes] | None = None,
        grace: float,
    ) -> None:
        """`errors` takes its standard error, which is ours otherwise."""
        self._name = name
        self._module = module
        self._environment = dict(environment)
        self._listening = listening
        self._said = said
        self._errors = errors
        self._grace = grace
        self._ending = threading.Event()
        self._lock = threading.Lock()  # nothing is started once the end has begun
        self._process = self._start()
        self._watch = threading.Thread(target=self._keep, name=module, daemon=True)
        self._watch.start()

    def end(self) -> None:
        """Gently, then not; only this process, by its handle."""
        with self._lock:
            self._ending.set()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(self._grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watch.join(1)
        _close(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[self._listening.fileno()],
            start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
        )

    def _keep(self) -> None:
        pause = 1.0
        while True:
            begun = time.monotonic()
            self._process.wait()
            if self._ending.is_set():
                return
            pause = 1.0 if time.monotonic() - begun > _LONGEST_PAUSE else min(_LONGEST_PAUSE, 2 * pause)
            self._said(f"{self._name} ended by itself (exit code {self._process.returncode}); starting it again.")
            self._ending.wait(pause)
            with self._lock:
                if self._ending.is_set():
                    return
                _close(self._process)
                self._process = self._start()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
