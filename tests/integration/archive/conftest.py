"""Nodes that make archives in a folder, each as a process of its own would open it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.archive.making_process import PASSWORD, SECRET


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "destination"
    folder.mkdir()
    return folder


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    (folder / SECRET).mkdir(parents=True)
    (folder / SECRET / "password").write_text(f"{PASSWORD}\n")
    return folder
