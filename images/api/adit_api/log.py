"""The facade's log: one JSON object a line on standard error, with ids, names of resources and codes.

Never a body or a query. What libraries log goes the same way. Of an exception it shows where it happened and
its type: its text may hold a value that somebody sent.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from adit.discretion import be_discreet


def configure(level: str, file: TextIO | None = None) -> None:
    """Called once, by `main`. `file` is standard error if absent."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file or sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Passing()], level=max(number, logging.WARNING), force=True)
    logging.getLogger("uvicorn.error").setLevel(number)
    be_discreet(structlog.get_logger().error)


def happening(error: BaseException) -> MutableMapping[str, Any]:
    """What may be logged of an exception."""
    frames = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "at": frames[-8:]}


class _Passing(logging.Handler):
    """Libraries' records as lines of ours, without what they show of an exception."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        values = happening(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        # uvicorn appends an exception's text to its message
        message = record.getMessage().partition("\n")[0] if not values else str(record.msg).partition("\n")[0]
        getattr(logger, record.levelname.lower(), logger.warning)(message, **values)
