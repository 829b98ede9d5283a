"""Folder nodes with a study in one and room in the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from adit.dicom.folder import FolderNode, JobFolder
from adit.model.assignment import Share

JOB = JobFolder("stroke", date(2026, 11, 22), "jane")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "destination"
    folder.mkdir()
    return folder


@pytest.fixture
def open_destination(root: Path) -> Callable[[], FolderNode]:
    """A node as a fresh process would open it."""
    return lambda: FolderNode("archive", root, Share(), JOB)
