"""The worker's log: one JSON object a line on stderr, with ids, codes and counts only. Used by `main`.

Looks as structlog's would, which takes longer to import than a small task's whole network traffic.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


def write(level: str, event: str, **values: Any) -> None:
    """One line. `level` is info, warning or error."""
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = json.dumps({**values, "event": event, "level": level, "timestamp": at})
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the log
