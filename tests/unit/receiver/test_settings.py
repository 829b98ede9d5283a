"""docs/receiver.md says every setting, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from adit_receiver.settings import ReceiverSettings

PAGE = (Path(__file__).parents[3] / "docs" / "receiver.md").read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"ADIT_RECEIVER_[A-Z_]+", PAGE))
    assert documented == {f"ADIT_RECEIVER_{name.upper()}" for name in ReceiverSettings.model_fields}


def test_numbers_are_the_codes() -> None:
    units = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    rows = re.findall(r"^\| ADIT_RECEIVER_([A-Z_]+) \|.*\| (\d+) ?([KMG]iB)? \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 10
    for name, number, unit in rows:
        assert ReceiverSettings.model_fields[name.lower()].default == int(number) * units[unit], name
