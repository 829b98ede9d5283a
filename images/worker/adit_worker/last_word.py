"""The worker's last word to who started it: one JSON line in the file ADIT_TERMINATION_LOG names. Used by `main`.

In a pod that is /dev/termination-log, and Kubernetes shows it in the pod's status: so codes and counts only, no
UIDs, no messages. The ledger holds the truth; this confirms it, or tells why the ledger could not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from adit.model.assignment import Report

_VERSION: Final = 1
_CODES: Final = 20  # of each kind, so that the line stays below 2 kB


def leave(path: Path | None, attempt_id: int | None, *, ended: str | None = None, report: Report | None = None) -> None:
    """Writes the line, if it can: nobody may lose an attempt because of it.

    `ended` says in one word why there is no outcome in the ledger; absent, the report's is.
    """
    if path is None:
        return
    word: dict[str, Any] = {"v": _VERSION, "attempt": attempt_id}
    if ended is not None:
        word["ended"] = ended
    if report is not None:
        word["outcome"] = report.outcome
        word["faults"] = list(dict.fromkeys(fault.code for fault in report.faults))[:_CODES]
        word["warnings"] = list(dict.fromkeys(fault.code for fault in report.warnings))[:_CODES]
        word["progress"] = report.progress.model_dump()
    try:
        path.write_text(json.dumps(word, separators=(",", ":")) + "\n")
    except OSError:
        return
