"""The receiver's log: one JSON object a line on stderr; addresses, AE titles, counts and codes only. Set up by `main`.

No UIDs and nothing of a data set: what peers send is theirs.
"""

from __future__ import annotations

import logging
import sys

import structlog

from adit.discretion import be_discreet, exception_told


def configure(level: str) -> None:
    """`level`: debug, info, warning or error; info if it is none of these."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            exception_told,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.disable(logging.CRITICAL)  # pydicom's and others': they print what peers send
    be_discreet(structlog.get_logger().error)
