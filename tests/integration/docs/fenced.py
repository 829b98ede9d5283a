"""The fenced blocks of a Markdown page. Used for docs/ and, with the same rules, for the README.

- ```console: each line that begins with `$ ` is a command; the lines below it are its output.
- ```sh: the whole block is one script.
- ```yaml FILE: a file that the commands after it need; without FILE it must still be a valid manifest.
- anything else (```text, ```sql, …) is for readers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)[ \t]*([^\n`]*)\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the rest of its first line, its content, its first line's number."""

    language: str
    title: str
    text: str
    line: int

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command with the output that the page shows below it."""
        if self.language == "sh":
            yield self.text, ""
        if self.language != "console":
            return
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = f"{command[:-1]}{more.removeprefix('> ')}"
            yield command.split("  #")[0].strip(), output.strip()


def blocks(page: Path) -> list[Block]:
    """The page's blocks in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2].strip(), found[3], text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]
