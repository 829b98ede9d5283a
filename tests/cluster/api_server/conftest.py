"""One API server for all of these files that a process runs: each test has a namespace of its own there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from adit_operator.kubernetes_api import KubernetesApi
from adit_operator.kubernetes_login import login
from tests.cluster.api_server.callers import TOKENS
from tests.peers.control_plane import ADMIN, ControlPlane
from tests.peers.faulty_proxy import FaultyProxy


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), tokens=TOKENS) as plane:
        plane.add_our_kinds()
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, control_plane.ca) as proxy:
        yield proxy


@pytest.fixture
def connect(control_plane: ControlPlane) -> Iterator[Callable[..., KubernetesApi]]:
    """A client of the control plane, or of `server`, as the bearer of `token`."""
    opened: list[KubernetesApi] = []

    def connect(token: str = ADMIN, server: str | None = None, **settings: Any) -> KubernetesApi:
        environment = {"KUBECONFIG": str(control_plane.kubeconfig(token, server))}
        opened.append(KubernetesApi(lambda: login(environment), **settings))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def api(connect: Callable[..., KubernetesApi]) -> KubernetesApi:
    return connect()


@pytest.fixture
def proxied(connect: Callable[..., KubernetesApi], proxy: FaultyProxy) -> KubernetesApi:
    """A client that speaks through `proxy`, and waits for nothing that it is asked to wait for."""
    return connect(server=proxy.url, read_seconds=10, wait=lambda seconds: None)
