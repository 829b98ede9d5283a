"""Tables on a terminal that is too narrow for them: messages go below their rows, and no word is cut."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adit.cli.console import print_table
from adit.cli.tables import fault_table
from adit.ledger.records import FaultCount

MESSAGE = "NodeUnreachable: nobody answers at pacs.example.org:104, and that for several minutes [node radiology-pacs]"


def shown(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    print_table(Console(file=file, force_terminal=True, width=width, color_system=None), table)
    plain = Text.from_ansi(file.getvalue()).plain
    return [line.rstrip() for line in plain.splitlines()]


def faults() -> Table:
    return fault_table([FaultCount("NodeUnreachable", 3, MESSAGE), FaultCount("Lost", 1, "Lost: gone.")])


def test_a_table_that_fits_is_one_line_a_row() -> None:
    assert shown(faults(), 200)[0].split() == ["FAULT", "TASKS", "MESSAGE"]
    assert len(shown(faults(), 200)) == 3


def test_where_the_message_has_no_room_it_goes_below_its_row() -> None:
    head, first, *below = shown(faults(), 50)
    assert head.split() == ["FAULT", "TASKS"]
    assert first.split() == ["NodeUnreachable", "3"]
    assert all(len(line) <= 50 for line in below)
    words = " ".join(below).split()
    assert words[: len(MESSAGE.split()) - 1] == MESSAGE.removeprefix("NodeUnreachable: ").split()
    assert words[-3:] == ["Lost", "1", "gone."]
