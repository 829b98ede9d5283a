"""What the routes work with, made once by `app.create`. It is the same for all requests and holds nothing of any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from adit.ledger.ledger import Ledger
from adit_api.problems import ProblemError
from adit_api.registry import Registry
from adit_api.settings import Settings

_NODE_CALLS: Final = 8
STREAMS: Final = 200


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """`newest_revision` is the schema's that this version needs."""

    settings: Settings
    ledger: Ledger
    registry: Registry
    newest_revision: str
    clock: Callable[[], datetime] = utc_now
    # Counted per process: a limit against mistakes, not a budget. So nothing needs to be shared.
    limiter: MovingWindowRateLimiter = field(default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()))
    _node_calls: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_NODE_CALLS))
    _streams: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(STREAMS))

    @contextmanager
    def node_call(self) -> Iterator[None]:
        """Asking nodes takes long: only so many at once. Raises ProblemError."""
        if not self._node_calls.acquire(blocking=False):
            raise _busy(f"{_NODE_CALLS} questions to nodes are being asked already.")
        try:
            yield
        finally:
            self._node_calls.release()

    def open_stream(self) -> None:
        """Raises ProblemError when there are too many; each one is closed by `close_stream`."""
        if not self._streams.acquire(blocking=False):
            raise _busy(f"{STREAMS} streams are open already.")

    def close_stream(self) -> None:
        self._streams.release()


def _busy(what: str) -> ProblemError:
    return ProblemError(503, "busy", f"{what} Try again soon.", headers={"Retry-After": "5"})


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Here = Annotated[Services, Depends(_services)]
