"""Fixtures of the fault tests: the system on a fresh ledger, and the `adit` command on the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from tests.faults.system import System
from tests.integration.cli.conftest import adit

__all__ = ["adit", "system"]


@pytest.fixture
def system(ledger: Ledger, ledger_url: str, worker_url: str, tmp_path: Path) -> System:
    return System(ledger, ledger_url, worker_url, tmp_path)
