"""The demo's own data folder, made anew each time, and the manifest in it. Used by `adit.cli.demo`."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import yaml

from adit.cli.console import ExitCode, Interrupted, fail
from adit.cli.settings import Settings
from adit.model.dicom_node import DicomNode


@contextmanager
def demo_folder(settings: Settings) -> Iterator[Settings]:
    """Settings for an empty data folder within the user's, and nothing of the user's ledger or secrets.

    What the demo before left there is removed. While the block runs, SIGTERM unwinds it as Ctrl-C does.
    """
    folder = settings.data / "demo"
    settings.data.mkdir(parents=True, exist_ok=True)
    with (settings.data / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"Another demo is running in {folder}. End it, or give this one another folder by --data.")
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            yield Settings(data=folder, database_url=None, worker_database_url=None, secrets=None, spool=None)
        except Interrupted:
            fail("Interrupted; everything that was started has been ended.", ExitCode.INTERRUPTED)
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def write_manifest(folder: Path, pacs: Sequence[DicomNode], studies: Sequence[str]) -> Path:
    """The demo's nodes and jobs as a user would write them: all studies to the second PACS, one to a folder."""

    def job(name: str, destination: str, chosen: Sequence[str]) -> dict[str, object]:
        return {
            "apiVersion": "adit.dev/v1alpha1",
            "kind": "TransferJob",
            "metadata": {"name": name},
            "spec": {
                "source": {"node": pacs[0].metadata.name},
                "destination": {"node": destination},
                "selection": {"studies": [{"studyInstanceUID": study} for study in chosen]},
            },
        }

    received = {
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "DicomNode",
        "metadata": {"name": "received"},
        "spec": {"folder": {"path": str(folder / "received")}},
    }
    nodes = [
        node.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        | {"apiVersion": node.api_version, "kind": node.kind}
        for node in pacs
    ]
    documents = [*nodes, received, job("demo-archive", pacs[1].metadata.name, studies)]
    documents.append(job("demo-folder", "received", studies[:1]))
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    return path
