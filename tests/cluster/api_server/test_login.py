"""Who the operator is to a real API server: as a pod's service account, and where there is neither account nor file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adit_operator.kubernetes_api import (
    KubernetesApi,
    Refusal,
)
from adit_operator.kubernetes_login import NoCluster, login
from tests.cluster.api_server.callers import make_reader, may_read, refused
from tests.cluster.api_server.objects import CONFIG_MAPS
from tests.peers.control_plane import ADMIN, ControlPlane
from tests.peers.server_process import wait_until


@pytest.fixture
def account(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Path:
    """A service account's folder as the kubelet mounts it, of one who may read ConfigMaps; without a token yet."""
    make_reader(control_plane, namespace, "me")
    shutil.copy(control_plane.ca, tmp_path / "ca.crt")
    return tmp_path


def test_a_pods_token_is_read_anew_when_it_was_replaced(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": control_plane.host, "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    token = account / "token"
    token.write_text("outdated")
    api = KubernetesApi(lambda: login(environment, account))
    try:
        unknown = refused(lambda: api.read(CONFIG_MAPS, namespace, "a"))
        assert (unknown.refusal, unknown.code) == (Refusal.UNAVAILABLE, 401)
        token.write_text(control_plane.kubectl("-n", namespace, "create", "token", "me").strip())
        wait_until(lambda: may_read(api, namespace), "the role is known")
        token.unlink()
        assert api.read(CONFIG_MAPS, namespace, "a") is None
    finally:
        api.close()


def test_a_server_with_another_authority_is_not_trusted(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    stranger = control_plane.certificates.__class__(account, "stranger")
    shutil.copy(stranger.ca, account / "ca.crt")
    (account / "token").write_text(ADMIN)
    environment = {"KUBERNETES_SERVICE_HOST": control_plane.host, "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    api = KubernetesApi(lambda: login(environment, account))
    assert refused(lambda: api.read(CONFIG_MAPS, namespace, "a")).refusal is Refusal.UNAVAILABLE
    api.close()


def test_without_account_and_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    for environment in (
        {},
        {"KUBECONFIG": str(tmp_path / "none")},
        {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"},
    ):
        with pytest.raises(NoCluster):
            login(environment, tmp_path)
