"""SIGTERM and SIGINT, taken from the process's first moment on. `__main__` imports this before anything heavy.

A worker needs most of a second to import what it works with. Told to end meanwhile, it must not die by
the signal without a word: it begins, sees at once that it was told to, and reports that it was interrupted.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

stop = threading.Event()
"""Set once this process was told to end."""


def _on_signal(number: int, frame: FrameType | None) -> None:
    stop.set()


def take_signals() -> None:
    """From now on a signal sets `stop` and ends nothing by itself."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)
