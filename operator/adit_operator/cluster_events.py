"""Kubernetes Events that people read in `kubectl describe`: one for each turn that a resource takes.

Made by the status writer from two statuses, so that nothing is told that a status may not hold. An
event's name follows from what it tells: a restart or a second operator cannot tell it again.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from adit.model.condition import ConditionReason, ConditionType
from adit.model.outcome import FaultCode
from adit.model.state import JobState
from adit_operator.conditions import condition, holds
from adit_operator.kubernetes_api import EVENTS, ApiRefused, Kind, KubernetesApi, Object, Refusal

CONTROLLER: Final = "adit.dev/operator"
KEPT: Final = 1000
"""How many events wait for an API server that does not take them; then the oldest are dropped."""

_AT_ONCE: Final = 100
_PAUSE: Final = timedelta(seconds=5)
_LATER: Final = frozenset({Refusal.UNAVAILABLE, Refusal.TOO_MANY_REQUESTS})
_log = structlog.get_logger()

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Regarding:
    """The resource that an event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happened to a resource, once."""

    reason: str
    note: str
    action: str
    warning: bool = False
    key: str = ""  # tells apart turns that may come again


def turns(before: Status | None, after: Status) -> Iterator[Turn]:
    """What happened between two statuses of a resource; `before` is None if it had none."""
    yield from _acceptance(before, after)
    if _begins(ConditionType.EXPANDED, before, after):
        yield Turn("Expanded", _message(after, ConditionType.EXPANDED), "Expand")
    generation = str(after.get("observedGeneration"))
    if _begins(ConditionType.SUSPENDED, before, after):
        yield Turn("Suspended", _message(after, ConditionType.SUSPENDED), "Suspend", key=generation)
    elif holds(before, ConditionType.SUSPENDED) and not _ended(after) and not holds(after, ConditionType.SUSPENDED):
        yield Turn("Resumed", "Tasks are started again.", "Resume", key=generation)
    if after.get("state") == JobState.CANCELING and (before or {}).get("state") != JobState.CANCELING:
        yield Turn("Canceling", _message(after, ConditionType.COMPLETE), "Cancel")
    yield from _trouble(before, after)
    if _ended(after) and not _ended(before or {}):
        yield _end(after)


def _acceptance(before: Status | None, after: Status) -> Iterator[Turn]:
    accepted, was = condition(after, ConditionType.ACCEPTED), condition(before, ConditionType.ACCEPTED)
    if accepted.get("status") == "True":
        # A job that has its tasks already is told of as expanded; of a node, only that it is no longer refused.
        is_job = "state" in after
        told = holds(after, ConditionType.EXPANDED) if is_job else was.get("status") != "False"
        if was.get("status") != "True" and not told:
            yield Turn("Accepted", accepted["message"], "Accept", key=str(after.get("observedGeneration")))
    elif not _ended(after) and (was.get("status"), was.get("reason")) != ("False", accepted.get("reason")):
        key = f"{after.get('observedGeneration')} {accepted.get('reason')}"
        yield Turn("NotAccepted", _with_reason(accepted), "Accept", warning=True, key=key)


def _trouble(before: Status | None, after: Status) -> Iterator[Turn]:
    """What keeps the job from going on, beside what was told of its acceptance and will be told of its end."""
    stalled, was = condition(after, ConditionType.STALLED), condition(before, ConditionType.STALLED)
    if _ended(after):
        return
    if stalled and stalled.get("reason") not in (
        was.get("reason"),
        condition(after, ConditionType.ACCEPTED).get("reason"),
    ):
        key = f"{stalled.get('reason')} {stalled.get('lastTransitionTime')}"
        yield Turn("Stalled", _with_reason(stalled), "Start", warning=True, key=key)
    elif was and not stalled and was.get("reason") != condition(before, ConditionType.ACCEPTED).get("reason"):
        yield Turn("GoingOn", f"No longer: {was.get('reason')}.", "Start", key=str(was.get("lastTransitionTime")))


def _end(after: Status) -> Turn:
    complete, failed = condition(after, ConditionType.COMPLETE), condition(after, ConditionType.FAILED)
    if complete.get("status") == "True":
        return Turn("Completed", complete["message"], "End")
    if condition(after, ConditionType.ACCEPTED).get("status") == "False":
        return Turn("Refused", _with_reason(failed), "Accept", warning=True)
    reason = {
        str(ConditionReason.ENDED_WITH_WARNINGS): "EndedWithWarnings",
        str(FaultCode.CANCELLED): "Cancelled",
    }.get(str(failed.get("reason")), "Failed")
    return Turn(reason, str(failed.get("message", "")), "End", warning=True)


def _begins(kind: ConditionType, before: Status | None, after: Status) -> bool:
    return holds(after, kind) and not holds(before, kind)


def _ended(status: Status) -> bool:
    return "completionTime" in status


def _message(status: Status, kind: ConditionType) -> str:
    return str(condition(status, kind).get("message", ""))


def _with_reason(stated: Mapping[str, Any]) -> str:
    return f"{stated.get('reason')}: {stated.get('message', '')}"


def event(regarding: Regarding, turn: Turn, instance: str, now: datetime) -> Object:
    """The events.k8s.io/v1 Event that tells of a turn."""
    said = "\n".join((regarding.uid, turn.reason, turn.key))
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.name,
        "metadata": {
            "name": f"{regarding.name}.{hashlib.sha256(said.encode()).hexdigest()[:16]}",
            "namespace": regarding.namespace,
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": turn.action,
        "reason": turn.reason,
        "type": "Warning" if turn.warning else "Normal",
        "note": turn.note,
        "regarding": {
            "apiVersion": regarding.kind.api_version,
            "kind": regarding.kind.name,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
    }


class ClusterEvents:
    """Events on their way to the API server. Used by one thread; losing one does no harm."""

    def __init__(self, api: KubernetesApi, instance: str) -> None:
        """`instance` is the operator's pod."""
        self._api = api
        self._instance = instance[:128]
        self._waiting: deque[Object] = deque(maxlen=KEPT)
        self._not_before: datetime | None = None

    def tell(self, regarding: Regarding, before: Status | None, after: Status, now: datetime) -> None:
        self._waiting.extend(event(regarding, turn, self._instance, now) for turn in turns(before, after))

    def post_due(self, now: datetime) -> None:
        """Sends what waits, unless the API server was out of reach a moment ago. Never raises ApiRefused."""
        if self._not_before is not None and now < self._not_before:
            return
        self._not_before = None
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            body = self._waiting[0]
            try:
                self._api.create(EVENTS, body["metadata"]["namespace"], body)
            except ApiRefused as error:
                if error.refusal in _LATER:
                    self._not_before = now + max(_PAUSE, timedelta(seconds=error.retry_after or 0))
                    return
                if error.refusal is not Refusal.ALREADY_EXISTS:
                    _log.info("event dropped", reason=body["reason"], refusal=str(error.refusal))
            self._waiting.popleft()
