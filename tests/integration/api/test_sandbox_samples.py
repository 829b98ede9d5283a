"""The sandbox's PACS is ready when its samples are there, whenever its pod starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.peers.orthanc import Orthanc
from tests.peers.server_process import wait_until

EXAMPLE = Path(__file__).parents[3] / "examples" / "kubernetes" / "transferjob.yaml"


def test_the_file_that_says_so_comes_after_the_samples_of_the_first_try(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Orthanc(tmp_path, aet="SANDBOX") as pacs:
        command = [sys.executable, "-m", "adit_api.sandbox_samples", f"--port={pacs.dicom_port}", f"--done={done}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as filling:
            assert filling.stdout is not None
            told = filling.stdout.readline()
            wait_until(done.exists, "it says that all is there")
            wanted = [each["studyInstanceUID"] for each in _example()["selection"]["studies"]]
            assert all(pacs.instances_of(study) for study in wanted)
            counts = pacs.counts()
            assert told == f"{counts['studies']} studies, {counts['instances']} instances are there.\n"
            assert filling.poll() is None
            filling.terminate()
            assert filling.wait(60) == 0


def _example() -> dict[str, dict[str, list[dict[str, str]]]]:
    found: dict[str, dict[str, list[dict[str, str]]]] = yaml.safe_load(EXAMPLE.read_text())["spec"]
    return found
