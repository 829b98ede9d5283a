"""What somebody may have meant who wrote a name that is not there. Called by whoever refuses one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def guess(given: str, known: Iterable[str], closeness: float = 0.6) -> str:
    """`; did you mean NAME?`, to end a sentence with; empty if nothing known is close."""
    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(given.casefold(), by_fold, n=1, cutoff=closeness)
    return f"; did you mean {by_fold[close[0]]}?" if close else ""
