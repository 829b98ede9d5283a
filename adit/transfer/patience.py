"""How long an attempt waits for others before it gives up, in one place. Read by the parts of an attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds."""

    grace: float = 20.0
    """For storing what was received when told to stop (a pod has 30 s by default)."""

    reopen: tuple[float, ...] = (0.5, 2.0, 5.0)
    """Before a dead store channel is opened again; one more death in a row retires its thread."""

    ask_again: tuple[float, ...] = (1.0, 3.0)
    """Before a destination is asked again for what it did not list: some archives list late, and a wait is
    cheaper than to send it all again."""

    ledger: float = 0.5
    """Before a ledger that is away is tried again."""
