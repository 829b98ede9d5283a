"""What a process keeps to itself: the words of exceptions and warnings, and its memory when it dies.

Any of them may hold a patient's data, and ends up in logs that others read. Called first by each process that handles
such data, and by what writes their logs.
"""

from __future__ import annotations

import resource
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, MutableMapping
from pathlib import PurePath
from typing import Any, Final

_PLACES: Final = 8
_NO_CORE: Final = 1
"""Bytes: Linux writes no core then, and pipes none to a program, as it does with a limit of 0 (core(5))."""


def places_of(error: BaseException) -> list[str]:
    """Where it went through, outermost first, as `transfer/plan.py:42 make_plan`; no values, no source lines."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{'/'.join(PurePath(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]


def told(error: BaseException) -> dict[str, Any]:
    """What a log may tell of an exception: its type and its places."""
    return {"error": type(error).__name__, "at": places_of(error)[-_PLACES:]}


def exception_told(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For structlog, in place of `format_exc_info`."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    if found is True:
        found = sys.exc_info()[1]
    if isinstance(found, BaseException):
        event.update(told(found))
    return event


def leave_no_core() -> None:
    """However it dies. A limit of 0 that it was started with stays: only root may raise it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if hard == 0 else _NO_CORE
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def be_discreet(tell: Callable[..., object]) -> None:
    """From now on only `tell` speaks of what nobody caught, and no library warns by Python's warnings. `tell` takes an
    event, and what may be told of it."""

    def uncaught(kind: object, error: BaseException, where: object) -> None:
        tell("not caught", **told(error))

    def uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            tell(
                "a thread failed",
                thread=failure.thread.name if failure.thread else "unknown",
                **told(failure.exc_value),
            )

    def unraisable(failure: sys.UnraisableHookArgs) -> None:
        if failure.exc_value is not None:
            tell("not raised", **told(failure.exc_value))

    leave_no_core()
    warnings.simplefilter("ignore")
    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable
