"""Which release serves a namespace: one, that a Lease in it names. An operator leaves all others' namespaces alone.

Two releases have two ledgers: both would transfer what they see, end each other's Jobs and fight over what statuses
say. Asked by the intake for each resource and by the launcher; looked at anew by each sweep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from adit_operator.kubernetes_api import LEASES, ApiRefused, KubernetesApi, Object, Refusal
from adit_operator.metrics import FOREIGN_NAMESPACES

LEASE: Final = "adit-owner"
SHORTEST_SECONDS: Final = 900
"""How long a mark must stand still before another release may take it: longer than an upgrade without an operator."""

_MICRO_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
_TRIES: Final = 5
_UNKNOWN: Final = frozenset({Refusal.UNAVAILABLE, Refusal.TOO_MANY_REQUESTS, Refusal.CONFLICT, Refusal.ALREADY_EXISTS})
"""Refusals that tell nothing about the mark: what was known of it before stays true."""
_log = structlog.get_logger(__name__)


class Ownership:
    """Threads may share it.

    The mark names the release, not its ledger: a release whose ledger was lost and made anew keeps its namespaces.
    Writes are bound to the version that was read, so of two releases that reach for a namespace one gets it.
    """

    def __init__(
        self,
        api: KubernetesApi,
        release: str,
        *,
        seconds: float = SHORTEST_SECONDS,
        monotonic: Callable[[], float],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`release`: what no other release of the cluster has. `seconds`: longer than the pause between two sweeps."""
        self._api = api
        self._release = release
        self._seconds = int(max(seconds, SHORTEST_SECONDS))
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._ours: dict[str, bool] = {}  # by namespace, as last seen
        self._seen: dict[str, tuple[str, float]] = {}  # of others' marks: their version, and since when it stands

    def owns(self, namespace: str) -> bool:
        """Claims a namespace that nothing is known of. Raises ApiRefused if nobody can tell now."""
        with self._lock:
            known = self._ours.get(namespace)
        return self._look(namespace) if known is None else known

    def is_ours(self, namespace: str) -> bool:
        """From memory."""
        with self._lock:
            return self._ours.get(namespace, False)

    def others(self) -> frozenset[str]:
        """Namespaces that are left alone, from memory."""
        with self._lock:
            return frozenset(namespace for namespace, ours in self._ours.items() if not ours)

    def renew(self, namespaces: Iterable[str]) -> None:
        """Says of these, and of all that are known, that they are still ours; takes those that have become free.

        Raises ApiRefused if nobody can tell of one that nothing is known of.
        """
        with self._lock:
            known = set(self._ours)
        for namespace in sorted(known.union(namespaces)):
            self._look(namespace)
        FOREIGN_NAMESPACES.set(len(self.others()))

    def _look(self, namespace: str) -> bool:
        with self._lock:
            before = self._ours.get(namespace)
        try:
            holder = self._claim(namespace)
        except ApiRefused as error:
            if error.refusal in _UNKNOWN:
                if before is None:
                    raise
                return before
            holder = None
            if error.refusal is Refusal.NOT_FOUND:  # the namespace went away
                return self._forget(namespace)
            if before is not False:
                _log.error("namespace not claimed", namespace=namespace, reason=str(error), cure=_RIGHTS)
        ours = holder == self._release
        if holder is not None and ours != before:
            self._tell(namespace, holder, ours)
        with self._lock:
            self._ours[namespace] = ours
        return ours

    def _tell(self, namespace: str, holder: str, ours: bool) -> None:
        if ours:
            _log.info("serves namespace", namespace=namespace)
        else:
            cure = f"If {holder} is no more: kubectl -n {namespace} delete lease {LEASE}"
            _log.error("another release serves the namespace, which is left alone", namespace=namespace, cure=cure)

    def _forget(self, namespace: str) -> bool:
        with self._lock:
            self._ours.pop(namespace, None)
            self._seen.pop(namespace, None)
        return False

    def _claim(self, namespace: str) -> str:
        """Whose it is now, after trying to make it ours."""
        for tries_left in reversed(range(_TRIES)):
            lease = self._api.read(LEASES, namespace, LEASE)
            holder = "" if lease is None else str((lease.get("spec") or {}).get("holderIdentity") or "")
            if lease is not None and holder not in ("", self._release) and not self._stands_still(namespace, lease):
                return holder
            try:
                self._write(namespace, lease)
            except ApiRefused as error:  # another wrote in between, and one must look again
                if error.refusal not in (Refusal.CONFLICT, Refusal.ALREADY_EXISTS) or not tries_left:
                    raise
            else:
                self._seen.pop(namespace, None)
                return self._release
        raise AssertionError("the last try returns or raises")

    def _stands_still(self, namespace: str, lease: Object) -> bool:
        """By our own clock, which is never compared with another's."""
        version, now = str(lease["metadata"]["resourceVersion"]), self._monotonic()
        with self._lock:
            seen, since = self._seen.setdefault(namespace, (version, now))
            if seen != version:
                self._seen[namespace], since = (version, now), now
        asked = (lease.get("spec") or {}).get("leaseDurationSeconds")
        return now - since >= max(asked or 0, SHORTEST_SECONDS)

    def _write(self, namespace: str, lease: Object | None) -> None:
        now = self._clock().astimezone(UTC).strftime(_MICRO_TIME)
        before: Object = {} if lease is None else lease.get("spec") or {}
        changes = {"holderIdentity": self._release, "leaseDurationSeconds": self._seconds, "renewTime": now}
        if before.get("holderIdentity") != self._release:
            changes |= {"acquireTime": now, "leaseTransitions": before.get("leaseTransitions", 0) + 1}
        spec = before | changes
        if lease is None:
            metadata = {"name": LEASE}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.name, "metadata": metadata, "spec": spec}
            self._api.create(LEASES, namespace, body)
        else:
            self._api.replace(LEASES, namespace, LEASE, lease | {"spec": spec})


_RIGHTS: Final = (
    f"Nothing is done there until the operator may create the Lease {LEASE}, and get and update it: "
    "charts/adit/templates/access/_rules.tpl has its rights."
)
