"""A process that stores a study to a folder and says so line by line; to be killed. Run as `-m` with the root."""

from __future__ import annotations

import sys
from pathlib import Path

from adit.dicom.folder import FolderNode
from adit.model.assignment import Share
from tests import samples
from tests.integration.folder.conftest import JOB
from tests.integration.folder.given_instance import given

PACE = Share(bytes_per_second=80_000)  # about ten instances a second, so that there is a midst to be killed in


def study() -> samples.Study:
    return samples.ct_study(60, size=64)


if __name__ == "__main__":
    channel = FolderNode("archive", Path(sys.argv[1]), PACE, JOB).open_store(())
    for item in study().instances:
        print(channel.store(given(item)).sop_instance_uid, flush=True)
