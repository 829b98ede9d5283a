"""The installed `adit` command as a process, with an environment of its own."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.integration.cli.warm_adit import WarmAdit

ADIT = Path(sys.executable).with_name("adit")


@dataclass(frozen=True)
class Ended:
    """What a call left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@cache
def warm_adit() -> WarmAdit:
    """One for each of pytest's processes."""
    warm = WarmAdit()
    atexit.register(warm.close)
    return warm


@dataclass
class Adit:
    """Calls `adit` in a folder, with a ledger and a data folder of a test's own."""

    folder: Path
    environment: Mapping[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *arguments: str, stdin: str | None = None, **environment: str) -> Ended:
        return Ended(*warm_adit()(arguments, self.folder, self._environment(environment), stdin, seconds=90))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        process = subprocess.Popen(
            [str(ADIT), *arguments],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals | None = None) -> Ended:
        """Waits for its end, after a signal if one is given."""
        if number is not None:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return Ended(process.returncode, out, err)

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ADIT_")}
        return {**kept, **self.environment, **more}
