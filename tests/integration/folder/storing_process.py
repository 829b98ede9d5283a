"""A process that stores a study to a folder and says so line by line; to be killed. Run as `-m` with the root."""

from __future__ import annotations

import sys
from pathlib import Path

from adit.dicom.folder import FolderNode
from adit.model.assignment import Share
from tests import samples
from tests.integration.folder.conftest import JOB
from tests.integration.folder.given_instance import given

INSTANCES = 200


def study() -> samples.Study:
    return samples.ct_study(INSTANCES, series=1, size=256)


if __name__ == "__main__":
    channel = FolderNode("archive", Path(sys.argv[1]), Share(), JOB).open_store(())
    for item in study().instances:
        print(channel.store(given(item)).sop_instance_uid, flush=True)
