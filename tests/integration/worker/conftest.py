"""Fixtures of the transfer's tests: a scene in a fresh ledger, and two Orthancs for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from tests.integration.transfer.scene import Scene, scene_of


@pytest.fixture
def scene(ledger: Ledger, worker_url: str, tmp_path: Path) -> Iterator[Scene]:
    with scene_of(ledger, worker_url, tmp_path) as scene:
        yield scene
