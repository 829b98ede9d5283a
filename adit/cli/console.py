"""Where the command speaks: results on standard output, everything else on standard error.

So `adit run job.yaml > manifest.json` and pipes get pure JSON or a plain table. Used by every command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from textwrap import wrap
from typing import NoReturn

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

say = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, explanations and errors."""

out = Console(highlight=False, soft_wrap=True)
"""Results that people read; JSON goes out by `print_json`."""


_UNBOUNDED = 100_000
_INDENT = 4


class ExitCode(IntEnum):
    """Part of the command's contract; in every command's help."""

    GREEN = 0
    NOT_GREEN = 1
    REFUSED = 2  # usage, manifest or set-up: nothing was started
    WARNINGS = 3
    INTERRUPTED = 130


class Output(StrEnum):
    """How a command writes its result."""

    TABLE = "table"
    JSON = "json"


class CommandError(Exception):
    """Ends the command with a message for people and an exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(BaseException):
    """Ctrl-C, or SIGTERM where a command has something to end. Unwinds everything; the exit code is 130."""


def fail(message: str, code: ExitCode = ExitCode.REFUSED) -> NoReturn:
    """Ends the command: what is wrong, and its cure."""
    raise CommandError(message, code)


def print_table(console: Console, table: Table) -> None:
    """As wide as it must be, like kubectl: UIDs and states stay whole, so that they can be copied."""
    unbounded = console.options.update(width=_UNBOUNDED, max_width=_UNBOUNDED)
    for column in table.columns:
        if column.no_wrap:  # rich would break it between words all the same, and cut it off there
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, unbounded, cell).maximum for cell in cells)
    needed = Measurement.get(console, unbounded, table)
    room = console.width if console.is_terminal else _UNBOUNDED
    last = table.columns[-1]
    if needed.minimum > room and last.min_width is not None and not last.no_wrap:
        _print_stacked(console, table, room)
        return
    width = max(needed.minimum, min(needed.maximum, room))
    Console(file=console.file, width=width, force_terminal=console.is_terminal, highlight=False).print(table)


def _print_stacked(console: Console, table: Table, room: int) -> None:
    """Where the last column, which wraps, has no room beside the others it goes below each row: no word is cut."""
    *columns, text = table.columns
    first = Table(box=None, pad_edge=False, header_style=table.header_style, expand=False)
    for column in columns:
        first.add_column(column.header, no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        first.add_row(*cells)
    wide = Console(file=console.file, width=_UNBOUNDED, force_terminal=console.is_terminal, highlight=False)
    rendered = wide.render_lines(first, pad=False)
    lines = [Text.assemble(*((segment.text, segment.style or "") for segment in line)) for line in rendered]
    wide.print(lines[0])
    for line, below in zip(lines[1:], text.cells, strict=True):
        wide.print(line)
        for part in wrap(str(below), room - _INDENT, break_long_words=False, break_on_hyphens=False):
            wide.print(Text(" " * _INDENT + part))


def print_json(value: Mapping[str, object] | list[object]) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()
