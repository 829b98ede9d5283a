"""Who asks the API server besides its administrator, and what it told them. Used by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adit_operator.kubernetes_api import (
    ApiRefused,
    KubernetesApi,
    Refusal,
)
from tests.cluster.api_server.objects import CONFIG_MAPS
from tests.peers.control_plane import ControlPlane

JAILED = "token-of-the-jailed"
POWERLESS = "token-of-the-powerless"
TOKENS = {JAILED: "jailed", POWERLESS: "powerless"}
"""Of whom the API server knows, with their groups."""


def make_reader(control_plane: ControlPlane, namespace: str, name: str) -> None:
    """A service account that may read ConfigMaps and nothing else."""
    control_plane.kubectl("-n", namespace, "create", "serviceaccount", name)
    control_plane.kubectl("-n", namespace, "create", "role", name, "--verb=get", "--resource=configmaps")
    subject = f"--serviceaccount={namespace}:{name}"
    control_plane.kubectl("-n", namespace, "create", "rolebinding", name, f"--role={name}", subject)


def may_read(api: KubernetesApi, namespace: str) -> bool:
    try:
        return api.read(CONFIG_MAPS, namespace, "none") is None
    except ApiRefused as error:
        if error.refusal is not Refusal.FORBIDDEN:
            raise
        return False


def refused(call: Callable[[], object]) -> ApiRefused:
    with pytest.raises(ApiRefused) as caught:
        call()
    return caught.value
