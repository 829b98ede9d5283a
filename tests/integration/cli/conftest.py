"""Two real Orthancs for the module, and an `adit` with a fresh ledger for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import Hospital
from tests.peers.orthanc import Orthanc


@pytest.fixture(scope="module")
def orthancs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("orthancs")
    with Orthanc(folder, aet="HOSPITAL") as source, Orthanc(folder, aet="RESEARCH") as destination:
        yield Hospital(source, destination)


@pytest.fixture
def adit(tmp_path: Path, ledger_url: str, worker_url: str) -> Iterator[Adit]:
    environment = {
        "ADIT_DATABASE_URL": ledger_url,
        "ADIT_WORKER_DATABASE_URL": worker_url,
        "ADIT_DATA": str(tmp_path / "data"),
    }
    made = Adit(tmp_path, environment)
    yield made
    made.close()
