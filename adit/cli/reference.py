"""Writes the tables of docs/ that are made from the code: fields of the resources, commands and options.

Run by hand, `python -m adit.cli.reference`, after a change; a test fails when docs/ and code differ.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from adit.cli.main import app
from adit.model.crd import Schema, structural
from adit.model.deid_profile import DeidProfileSpec
from adit.model.dicom_node import DicomNodeSpec
from adit.model.transfer_job import TransferJobSpec

_WIDTH = 100
_FIELDS = re.compile(r"(<!-- fields -->\n).*(<!-- /fields -->)", re.DOTALL)


def pages(docs: Path) -> dict[str, str]:
    """The pages of docs/ as they should be, by file name."""
    return {
        "transferjob.md": _with_fields(docs / "transferjob.md", structural(TransferJobSpec)),
        "dicomnode.md": _with_fields(docs / "dicomnode.md", structural(DicomNodeSpec)),
        "deidprofile.md": _with_fields(docs / "deidprofile.md", structural(DeidProfileSpec)),
        "cli.md": "\n".join(_command_line()),
    }


def _with_fields(page: Path, schema: Schema) -> str:
    head = "| field | what | values | if absent |\n|---|---|---|---|\n"
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(schema, ""))
    return _FIELDS.sub(lambda found: found[1] + head + rows + found[2], page.read_text(encoding="utf-8"))


def _rows(schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    for name, each in schema["properties"].items():
        field = f"{path}{name}"
        items = each.get("items", {})
        inside = each if "properties" in each else items if "properties" in items else None
        absent = "required" if name in schema.get("required", ()) else "" if inside else _default(each)
        yield f"`{field}`", each["description"], _values(each), absent
        if inside is not None:
            yield from _rows(inside, f"{field}[]." if inside is items else f"{field}.")


def _values(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "a quantity"
    match schema["type"]:
        case "array":
            least = f"{schema['minItems']} to " if schema.get("minItems") else "up to "
            of = ", ".join(schema["items"]["enum"]) if "enum" in schema["items"] else ""
            return f"{least}{schema['maxItems']}{' of ' + of if of else ''}"
        case "integer":
            return f"{schema.get('minimum', '')} to {schema.get('maximum', '')}"
        case "string":
            return f"up to {schema['maxLength']} characters"
        case "boolean":
            return "true, false"
    return ""


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _command_line() -> Iterator[str]:
    yield "# Every command\n"
    yield "Each page is what `--help` prints; see [single-machine.md](single-machine.md) for the environment.\n"
    for words in _commands(typer.main.get_command(app), []):
        yield f"## {' '.join(['adit', *words])}\n\n```text"
        yield from _help(words)
        yield "```\n"


def _commands(command: Any, words: list[str]) -> Iterator[list[str]]:
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, [*words, name])


def _help(words: list[str]) -> Iterator[str]:
    """What `adit … --help` prints on a terminal without colours, 100 columns wide."""
    terminal = {"COLUMNS": str(_WIDTH), "TERMINAL_WIDTH": str(_WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="adit", env=terminal)
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    yield from lines[next(index for index, line in enumerate(lines) if line) :]


def main() -> None:
    docs = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, text in pages(docs).items():
        (docs / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
