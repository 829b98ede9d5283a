"""The chart rendered by each helm, with many values."""

from __future__ import annotations

import pytest

from tests.peers.helm import Helm, helm


@pytest.fixture(scope="session", params=["helm", "helm3"])
def each_helm(request: pytest.FixtureRequest) -> Helm:
    return helm(request.param)


@pytest.fixture(scope="session")
def helm4() -> Helm:
    return helm()
