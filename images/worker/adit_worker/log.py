"""The worker's log: one JSON object a line on stderr, with ids, codes and counts only. Used by `main`.

structlog is imported with the first line, which a good attempt writes at its end: importing it would
otherwise delay the first word to the source by a tenth of a second.
"""

from __future__ import annotations

import sys
from typing import Any


def write(level: str, event: str, **values: Any) -> None:
    """One line. `level` is info, warning or error."""
    import structlog

    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )
    getattr(logger, level)(event, **values)
