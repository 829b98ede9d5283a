"""What the DICOM standard says about de-identification: PS3.15 Annex E and the types of PS3.3, as one table.

Read by `adit.deid.policy`. The table is made by scripts/make-deid-table, which names its sources and their edition.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("ps3.15.json")

PRIVATE: Final = "PRIVATE"
"""The row for all private attributes."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of E.1-1 or E.3.4-1: the Basic Profile's code, and what options that are on make of it."""

    basic: str
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Standard:
    edition: str
    attributes: dict[int, Row]
    groups: dict[int, Row]  # 50xx, by 0x5000
    repeating: dict[int, Row]  # 60xx,eeee, by 0x6000eeee
    private: Row
    concepts: dict[tuple[str, str, str], Row]  # by scheme, code and value type; E.3.4-1
    safe_private: dict[str, frozenset[int]]  # by creator: gggg00ee of each element
    methods: dict[str, tuple[str, str]]  # by option: code value and meaning of CID 7050
    vocabulary: frozenset[str]
    _modules: dict[str, dict[str, int]]
    _classes: dict[str, list[str]]

    def types_of(self, sop_class_uid: str) -> dict[tuple[int, ...], int] | None:
        """1, 2 or 3 by path, of those attributes whose treatment depends on it; None for a class that is not known.

        Conditional types count as unconditional: who sent the attribute may have had to.
        """
        modules = self._classes.get(sop_class_uid)
        if modules is None:
            return None
        types: dict[tuple[int, ...], int] = {}
        for module in modules:
            for path, kind in self._modules[module].items():
                tags = tuple(int(tag, 16) for tag in path.split("."))
                types[tags] = min(kind, types.get(tags, 3))
        return types


@cache
def standard() -> Standard:
    """The table, read once a process."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    rows = {tag: Row(row[0], row[1] if len(row) > 1 else {}) for tag, row in document["attributes"].items()}
    concepts: dict[tuple[str, str, str], Row] = {}
    for name, row in document["concepts"].items():
        scheme, code, value_type = name.rsplit(" ", 2)
        concepts[scheme, code, value_type] = Row(row[0], row[1] if len(row) > 1 else {})
    return Standard(
        edition=document["edition"],
        attributes={int(tag, 16): row for tag, row in rows.items() if "x" not in tag and tag != PRIVATE},
        groups={int(tag[:2], 16) << 24: row for tag, row in rows.items() if tag.endswith("xxxxxx")},
        repeating={
            int(tag.replace("x", "0"), 16): row for tag, row in rows.items() if tag[2:4] == "xx" and "x" not in tag[4:]
        },
        private=rows[PRIVATE],
        concepts=concepts,
        safe_private={
            creator: frozenset(int(f"{group}00{each}", 16) for group, held in groups.items() for each in held)
            for creator, groups in document["safePrivate"].items()
        },
        methods={name: (code, meaning) for name, (code, meaning) in document["methods"].items()},
        vocabulary=frozenset(document["vocabulary"]),
        _modules=document["modules"],
        _classes=document["classes"],
    )
