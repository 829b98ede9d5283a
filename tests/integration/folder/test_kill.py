"""A killed writer: what it acknowledged is whole, what it was at is not to be seen, and the next one goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adit.dicom.folder import FolderNode
from adit.dicom.node import Level, Query
from adit.model.assignment import Share
from tests.integration.folder.given_instance import given
from tests.integration.folder.storing_process import study

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("acknowledged", [1, 2, 17])
def test_a_killed_writer_leaves_no_half_file(
    acknowledged: int, root: Path, open_destination: Callable[[], FolderNode]
) -> None:
    command = [sys.executable, "-m", "tests.integration.folder.storing_process", str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = {process.stdout.readline().strip() for _ in range(acknowledged)}
        process.kill()
        said |= {line.strip() for line in process.stdout if line.endswith("\n")}
    whole = study()
    reader = FolderNode("again", root, Share())
    there = {str(row.SOPInstanceUID) for row in reader.find(Query(Level.IMAGE))}
    assert said <= there < whole.sop_instance_uids
    assert reader.doubts() == ()
    channel = open_destination().open_store(())
    stored = [channel.store(given(item)) for item in whole.instances]
    assert all(proof.present for proof in open_destination().verify(whole.study_instance_uid, stored))
    assert len(list(root.rglob("*.dcm"))) == len(whole.instances)
