"""A scene with a receiver on its ledger, and an Orthanc that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from tests.integration.transfer.scene import Scene, scene_of
from tests.peers import Receiver


@pytest.fixture
def scene(ledger: Ledger, worker_url: str, tmp_path: Path) -> Iterator[Scene]:
    with scene_of(ledger, worker_url, tmp_path) as scene:
        yield scene


@pytest.fixture
def receiver(receiver_url: str, tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path, database_url=receiver_url) as started:
        yield started
