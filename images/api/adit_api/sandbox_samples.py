"""Fills a PACS of the chart's sandbox with the sample studies, beside it in its pod, whenever that pod starts.

The pod is ready when this has written its file: before that nobody may ask for a study and be told that there is none.
Run by the chart; `sandbox_setup` waits for it.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adit.cli.patients import copy_patients, load
from adit.model.dicom_node import DicomNode, DicomNodeSpec, Dimse
from adit.model.resource import ObjectMeta

PORT: Final = 4242
_WAIT_SECONDS: Final = 300.0


def node(name: str, ae_title: str, host: str, port: int = PORT) -> DicomNode:
    return DicomNode(
        metadata=ObjectMeta(name=name), spec=DicomNodeSpec(dimse=Dimse(ae_title=ae_title, host=host, port=port))
    )


def wait_for(host: str, port: int, seconds: float = _WAIT_SECONDS) -> None:
    """Until someone listens there. Ends the program if nobody does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{host}:{port} does not answer: {error}")
            time.sleep(0.2)
        else:
            return


def fill(pacs: DicomNode) -> str:
    """What it holds now, in words. Ends the program if it took nothing."""
    with tempfile.TemporaryDirectory() as folder:
        patients = Path(folder) / "patients"
        copy_patients(patients)
        loaded = [study for study in load(patients, pacs) if study.instances]
    if not loaded:
        sys.exit("The sandbox PACS took none of the sample studies; its log tells why.")
    return f"{len(loaded)} studies, {sum(study.instances for study in loaded)} instances"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="sandbox_samples", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--ae-title", default="SANDBOX")
    parser.add_argument("--done", type=Path, required=True, help="the file that says that all is there")
    given = parser.parse_args(arguments)

    ends = {signal.SIGTERM, signal.SIGINT}
    for each in ends:
        signal.signal(each, lambda *_: sys.exit(0))  # as the first process of a container it would not end otherwise
    if not given.done.exists():  # else a container before this one did it, and the pod still has what it was given
        wait_for(given.host, given.port)
        print(f"{fill(node('pacs', given.ae_title, given.host, given.port))} are there.", flush=True)  # noqa: T201
        given.done.touch()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
