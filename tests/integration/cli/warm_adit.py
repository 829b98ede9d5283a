"""The `adit` command from a process that has imported it already, forked for each call: it starts half a second sooner.

Started by `command`, a process for each of pytest's. Each call is a process of its own, with folder, environment,
arguments, standard streams and end of its own. Commands that go on, and those of the docs that need a shell, are
started as users do.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

IMPORTED = ("run", "status", "apply", "session", "job_name", "dispatching", "found", "tables", "manifest_input")


class WarmAdit:
    """Serves one call after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __call__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: str | None, seconds: float
    ) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        with self._lock, tempfile.TemporaryDirectory() as streams:
            files = [Path(streams) / name for name in ("in", "out", "err")]
            files[0].write_text(stdin or "", encoding="utf-8")
            order = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({**order, "streams": [str(file) for file in files]}) + "\n")
            pid = int(self._process.stdout.readline())
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                late = not selector.select(seconds)
            if late:
                os.kill(pid, SIGKILL)
            code = int(self._process.stdout.readline())
            if late:
                raise subprocess.TimeoutExpired(
                    ["adit", *arguments], seconds, *(file.read_bytes() for file in files[1:])
                )
            return code, files[1].read_text(encoding="utf-8"), files[2].read_text(encoding="utf-8")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(90)
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve() -> None:
    """Returns in the process of a call, when that has become `adit`, and where nobody orders any more."""
    from importlib import import_module

    for name in ("main", *IMPORTED):
        import_module(f"adit.cli.{name}")
    sys.path.remove(str(Path.cwd()))
    orders, told = os.fdopen(os.dup(0)), os.dup(1)
    for line in orders:
        if pid := os.fork():
            os.write(told, b"%d\n" % pid)
            os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            continue
        os.close(told)
        os.close(orders.fileno())
        _become(json.loads(line))
        return
    os._exit(0)


def _become(order: Any) -> None:
    for descriptor, path in enumerate(order["streams"]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_APPEND if descriptor else 0))
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = [str(Path(sys.executable).with_name("adit")), *order["arguments"]]


class _End:
    """Ends the process of a call when all else has ended, without taking apart what it imported: that takes 0.3 s."""

    def __init__(self) -> None:
        self._code = 1  # of an exception
        atexit.register(self._leave)  # the first one that is registered is called last

    def of(self, main: Callable[[], object]) -> None:
        try:
            main()
        except SystemExit as end:
            self._code = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        self._code = 0

    def _leave(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self._code)


if __name__ == "__main__":
    end = _End()
    serve()
    from adit.cli.main import main

    end.of(main)
