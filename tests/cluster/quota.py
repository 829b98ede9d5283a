"""A ResourceQuota that counts: until its controller has seen it, it refuses nothing. Used by the tests of refusals."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.peers.server_process import wait_until


def limit(kubectl: Callable[..., str], namespace: str, resource: str, amount: int) -> None:
    """Makes the namespace's quota `few`, such as `count/jobs.batch` of 0, or changes it."""
    hard = {resource: str(amount)}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": namespace}}
    kubectl("apply", "-f", "-", document={**quota, "spec": {"hard": hard}})
    shown = ("get", "quota", "few", "-n", namespace, "-o", "json")
    wait_until(lambda: json.loads(kubectl(*shown)).get("status", {}).get("hard") == hard, "the quota counts")
