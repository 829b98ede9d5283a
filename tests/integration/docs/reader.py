"""Someone who types what a page says, in a folder and with PACSs of their own.

`Reader.follow(page)` writes the page's files, runs its commands in order, and fails naming the page, the
line and the command. Addresses in the page are replaced by those of real sandbox PACSs (`replacements`).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adit.model.manifest_file import read
from tests.integration.cli.command import ADIT, Ended, warm_adit
from tests.integration.docs.fenced import Block, blocks

ROOT = Path(__file__).parents[3]
ELSEWHERE = ("adit demo",)
"""Commands that tests of their own run (tests/integration/cli/test_demo.py)."""


@dataclass
class Reader:
    folder: Path
    environment: Mapping[str, str]
    replacements: Mapping[str, str]
    exported: dict[str, str] = field(default_factory=dict)
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)
    commands: int = 0

    def follow(self, page: Path) -> None:
        """Raises AssertionError where the page is wrong."""
        try:
            for block in blocks(page):
                self._take(page, block)
        finally:
            self._end_background()

    def _take(self, page: Path, block: Block) -> None:
        if block.language == "yaml":
            text = self._replaced(block.text)
            read(text, f"{page.name}:{block.line}")
            if block.title:
                (self.folder / block.title).write_text(text, encoding="utf-8")
        for command, shown in block.commands():
            self._run(f"{page.name}:{block.line}", self._replaced(command), shown)

    def _run(self, place: str, command: str, shown: str) -> None:
        self.commands += 1
        words = shlex.split(command, comments=True)
        if command in ELSEWHERE:
            return
        if words[0] == "make":
            self._know_goal(place, words[1])
        elif words[0] == "export":
            name = words[1].partition("=")[0]
            self.exported[name] = self._shell(place, f"{command}\nprintenv {name}").strip()
        elif words[-1] == "&":
            self.background.append(subprocess.Popen(words[:-1], cwd=self.folder, env=self._environment()))
        else:
            out = self._adit(place, command, words[1:]) if _is_plain_adit(command) else self._shell(place, command)
            missing = [line for line in shown.splitlines() if line.strip() not in out]
            assert not missing, f"{place}: $ {command}\n{out}\nthe page shows: {missing}"

    def _adit(self, place: str, command: str, arguments: Sequence[str]) -> str:
        """The same as `_shell`, from a process that has imported it already."""
        ended = Ended(*warm_adit()(arguments, self.folder, self._environment(), None, seconds=90))
        assert ended.code == 0, f"{place}: $ {command}\n{ended.out}{ended.err}"
        return ended.out

    def _shell(self, place: str, command: str) -> str:
        """What the command writes to its standard output."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ended.returncode == 0, f"{place}: $ {command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def _know_goal(self, place: str, goal: str) -> None:
        """Runs nothing: the goals are what CI runs."""
        planned = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=False)
        assert planned.returncode == 0, f"{place}: make {goal}: {planned.stderr}"

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ADIT_")}
        return {**kept, "PATH": f"{ADIT.parent}:{kept['PATH']}", **self.environment, **self.exported}

    def _replaced(self, text: str) -> str:
        for shown, real in self.replacements.items():
            text = text.replace(shown, real)
        return text

    def _end_background(self) -> None:
        for process in self.background:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        self.background.clear()


def _is_plain_adit(command: str) -> bool:
    """Whether nothing of it is for a shell to do."""
    return command.startswith("adit ") and not set(command.partition("  #")[0]) & set("|&;<>$()*~\n")
