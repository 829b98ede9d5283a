"""Whether this process runs in a pod, where the cluster's resources say what is wanted and Secrets have no path.

Asked by `adit cancel`, `adit status` and the messages of a missing Secret.
"""

from __future__ import annotations

from collections.abc import Mapping


def in_pod(environment: Mapping[str, str]) -> bool:
    """The kubelet gives this variable to every container."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))
