"""Where the log lines of dispatcher and command go: standard error of `adit up`, a file beside a progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

import structlog

from adit.discretion import exception_told

ATTEMPT_LOG_DAYS: Final = 30


def log_to_stderr() -> None:
    """One line an event: time, level, event, key=value."""
    _log_to(sys.stderr)


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """The same lines, in `dispatcher.log` of the folder, while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "dispatcher.log").open("a", encoding="utf-8") as file:
        _log_to(file)
        try:
            yield
        finally:
            _log_to(sys.stderr)


def expire_attempt_logs(folder: Path, now: datetime) -> int:
    """Removes the logs of attempts that nobody wrote to for ATTEMPT_LOG_DAYS; how many they were."""
    oldest = (now - timedelta(days=ATTEMPT_LOG_DAYS)).timestamp()
    removed = 0
    for path in folder.glob("attempt-*.log"):
        with suppress(FileNotFoundError):  # another command was faster
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed


def _log_to(file: TextIO) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exception_told,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file),
        cache_logger_on_first_use=False,
    )
