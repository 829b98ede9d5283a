"""Old logs of attempts go; young ones, and whatever else lies there, stay."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adit.cli.log import ATTEMPT_LOG_DAYS, expire_attempt_logs

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def test_attempt_logs_expire_by_their_last_line(tmp_path: Path) -> None:
    for name, days in {
        "attempt-1.log": ATTEMPT_LOG_DAYS + 1,
        "attempt-2.log": ATTEMPT_LOG_DAYS - 1,
        "dispatcher.log": ATTEMPT_LOG_DAYS + 1,
    }.items():
        path = tmp_path / name
        path.touch()
        written = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (written, written))
    assert expire_attempt_logs(tmp_path, NOW) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"attempt-2.log", "dispatcher.log"}


def test_without_a_folder_there_is_nothing_to_remove(tmp_path: Path) -> None:
    assert expire_attempt_logs(tmp_path / "logs", NOW) == 0
