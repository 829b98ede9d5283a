"""docs/receiver.md says every setting, with its default."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

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


@pytest.mark.parametrize("listen", ["0.0.0.0:11112", ":11112", "[::]:11112", "localhost:0"])
def test_where_it_listens_is_a_host_and_a_port(listen: str) -> None:
    assert ReceiverSettings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["", "11112", "localhost", "localhost:", "::1:11112", "localhost:99999", "h:x"])
def test_where_it_cannot_listen_is_said(listen: str) -> None:
    with pytest.raises(ValidationError, match="must be HOST:PORT"):
        ReceiverSettings(listen=listen)


def test_where_it_cannot_listen_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADIT_RECEIVER_LISTEN", "11112")
    ended = subprocess.run(
        [sys.executable, "-m", "adit_receiver"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "ADIT_RECEIVER_LISTEN: must be HOST:PORT" in ended.stdout + ended.stderr
