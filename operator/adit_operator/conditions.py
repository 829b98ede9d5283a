"""Conditions as they were, and as they are now: a time that changes only with the status, bounded texts.

Used by job_status and node_status. Pure; what the cluster says of itself is read with distrust, as other
field managers write there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from adit.model.condition import Because, ConditionType
from adit.model.outcome import Fault
from adit.model.status import Condition

TEXT_BYTES: Final = 512
"""The longest message, in bytes of UTF-8; the schema's bound is in characters and wider."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_UID: Final = re.compile(r"(?<![\d.])[0-2](\.\d+){3,}")


@dataclass(frozen=True, slots=True)
class Observation:
    """One condition as it is now."""

    type: ConditionType
    holds: bool
    reason: Because
    message: str = ""


def conditions(
    observations: Iterable[Observation], previous: Mapping[str, Any] | None, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """`previous` is the status as it stands in the cluster, of which the times of what did not change are kept."""
    since = _transitions(previous)
    result = []
    for each in observations:
        status = "True" if each.holds else "False"
        result.append(
            Condition(
                type=str(each.type),
                status="True" if each.holds else "False",
                reason=str(each.reason),
                message=bounded(each.message),
                last_transition_time=since.get((str(each.type), status), whole_seconds(now)),
                observed_generation=generation,
            )
        )
    return tuple(result)


def condition(status: Mapping[str, Any] | None, kind: ConditionType) -> Mapping[str, Any]:
    """One condition of a status as it stands in the cluster; empty if it isn't there."""
    return next((each for each in _listed(status) if each.get("type") == kind), {})


def holds(status: Mapping[str, Any] | None, kind: ConditionType) -> bool:
    return condition(status, kind).get("status") == "True"


def fault_text(fault: Fault) -> str:
    """A fault that the operator itself has found, and its cure. Never for what a worker or a peer said."""
    return bounded(f"{fault.message} {fault.cure}".strip())


def bounded(text: str, limit: int = TEXT_BYTES) -> str:
    """One line, without UIDs, of at most so many bytes."""
    line = _UID.sub("[UID]", _UNPRINTABLE.sub(" ", text)).strip()
    if len(line.encode()) <= limit:
        return line
    return line.encode()[: limit - len("…".encode())].decode(errors="ignore") + "…"


def whole_seconds(time: datetime) -> datetime:
    """As Kubernetes writes times."""
    return time.astimezone(UTC).replace(microsecond=0)


def _transitions(status: Mapping[str, Any] | None) -> dict[tuple[str, str], datetime]:
    found = {}
    for each in _listed(status):
        try:
            since = datetime.fromisoformat(each["lastTransitionTime"])
            if since.tzinfo is not None:
                found[(each["type"], each["status"])] = whole_seconds(since)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return found


def _listed(status: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    listed = (status or {}).get("conditions")
    return [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
