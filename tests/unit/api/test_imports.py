"""The facade starts without what only a question to a node needs: a pod and `adit up --listen` wait for its start."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = "import sys, adit_api.main; print(*{'pydicom', 'numpy', 'pynetdicom', 'boto3', 'kubernetes'} & {*sys.modules})"


def test_it_starts_without_what_decodes() -> None:
    imported = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    assert imported.strip() == ""
