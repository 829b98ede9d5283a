"""Where nothing is launched for now, because the API server has just refused: no storm of requests, no storm of claims.

Asked by the launcher before each request, and by the dispatcher (through `Launcher.closed`) before it claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from adit.model.outcome import Fault

_FIRST_SECONDS: Final = 5.0
_MOST_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Closing:
    until: float
    seconds: float
    fault: Fault


class LaunchGate:
    """By namespace: closed for five seconds after a refusal, doubled with each further one up to a minute."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._closings: dict[str, _Closing] = {}

    def close(self, namespace: str, fault: Fault, retry_after: float | None = None) -> None:
        before = self._closings.get(namespace)
        seconds = _FIRST_SECONDS if before is None else min(_MOST_SECONDS, before.seconds * 2)
        seconds = max(seconds, retry_after or 0.0)
        self._closings[namespace] = _Closing(self._monotonic() + seconds, seconds, fault)

    def open(self, namespace: str) -> None:
        """Something was launched there."""
        self._closings.pop(namespace, None)

    def fault(self, namespace: str) -> Fault | None:
        """Why the namespace is closed; None if it is open."""
        closing = self._closings.get(namespace)
        return closing.fault if closing is not None and closing.until > self._monotonic() else None

    def closed(self) -> frozenset[str]:
        return frozenset(namespace for namespace in self._closings if self.fault(namespace) is not None)
