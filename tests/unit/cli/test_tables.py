"""Tables on a terminal that is too narrow for them: messages go below their rows, and no word is cut."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adit.cli.console import print_table
from adit.cli.found import as_table
from adit.cli.tables import event_table, fault_table
from adit.ledger.records import EventRecord, FaultCount
from adit.model.outcome import FaultCode

MESSAGE = "NodeUnreachable: nobody answers at pacs.example.org:104, and that for several minutes [node radiology-pacs]"


UID = "1.2.826.0.1.3680043.8.498." + "1234567890" * 3 + "12345678"


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


def test_a_uid_stays_whole_however_narrow_it_is() -> None:
    told = f"Incomplete: The source lists this instance but did not send it [instance {UID}]. See its log."
    at, code = datetime(2026, 11, 28, 20, 0, tzinfo=UTC), str(FaultCode.FETCHED_WITH_WARNING)
    event = EventRecord(task_id=12, attempt_number=2, at=at, level="warning", code=code, message=told, detail={})
    found = {"PatientName": "Doe Jane Theodora", "StudyInstanceUID": UID, "StudyDescription": "CT of the whole body"}
    for width in range(30, 260, 3):
        for table in (
            fault_table([FaultCount("Incomplete", 1, told)]),
            event_table([event]),
            as_table([found], tuple(found)),
        ):
            lines = shown(table, width)
            assert any(UID in line for line in lines), lines
            assert not any("…" in line for line in lines), lines
