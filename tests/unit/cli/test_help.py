"""Help that reads like documentation, and that comes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer import rich_utils
from typer.testing import CliRunner

from adit.cli.main import app


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*words, name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 80)
    result = CliRunner().invoke(app, [*words, "--help"], env={"NO_COLOR": "1"})
    assert result.exit_code == 0
    text = result.stdout
    assert max(len(line) for line in text.splitlines()) <= 80
    if words in [(), ("run",), ("node", "probe")]:
        assert "Exit codes" in text
    if words in [("run",), ("apply",), ("status",), ("manifest",), ("node", "find"), ("node", "probe"), ("crds",)]:
        assert "Example" in text


def test_help_needs_neither_database_nor_dicom() -> None:
    """What makes help slow is what it imports; seconds would depend on the machine."""
    heavy = ("sqlalchemy", "psycopg", "alembic", "pydicom", "pynetdicom", "pydantic")
    code = f"import sys, adit.cli.main; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
