"""The scene that the ledger's tests begin with."""

from __future__ import annotations

import pytest

from adit.ledger.ledger import Ledger
from tests.integration.ledger.scene import Scene


@pytest.fixture
def scene(ledger: Ledger, worker_url: str) -> Scene:
    return Scene(ledger, worker_url)
