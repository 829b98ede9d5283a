"""The worker's log: one JSON object a line on stderr, with ids, codes and counts only. Used by `main`."""

from __future__ import annotations

import sys

import structlog


def logger() -> structlog.typing.FilteringBoundLogger:
    """A logger of this process's own; it changes no global setting."""
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )
    return log
