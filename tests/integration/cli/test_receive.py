"""`adit run --receive` and `adit up --receive`: the same receiver beside either, for as long as they live."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from adit.model.state import JobState
from tests.integration.cli.command import Adit
from tests.integration.cli.test_up import summary
from tests.integration.dimse.nodes import node
from tests.peers.orthanc import Orthanc
from tests.peers.server_process import free_port, wait_until
from tests.samples import ct_study

STUDY = ct_study(5, seed="cli-receive")
MANIFEST = """
kind: DicomNode
apiVersion: adit.dev/v1alpha1
metadata: {{name: pacs}}
spec:
  dimse: {{aeTitle: PACS, host: 127.0.0.1, port: {port}, services: [StudyRootFind, StudyRootMove]}}
---
kind: DicomNode
apiVersion: adit.dev/v1alpha1
metadata: {{name: out}}
spec: {{folder: {{path: {out}}}}}
---
kind: TransferJob
apiVersion: adit.dev/v1alpha1
metadata: {{name: by-move}}
spec:
  source: {{node: pacs}}
  destination: {{node: out}}
  selection: {{studies: [{{studyInstanceUID: {study}}}]}}
"""


class Peer:
    """The receiver, as a DIMSE node to probe."""

    aet, host = "ADIT", "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.dicom_port = port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("receive"), aet="PACS") as peer:
        peer.upload(*STUDY.files())
        yield peer


@pytest.fixture
def manifest(adit: Adit, pacs: Orthanc, port: int, tmp_path: Path) -> str:
    pacs.knows("ADIT", "127.0.0.1", port)
    (tmp_path / "out").mkdir()
    text = MANIFEST.format(port=pacs.dicom_port, out=tmp_path / "out", study=STUDY.study_instance_uid)
    return adit.write("job.yaml", text)


@pytest.mark.parametrize("embedded", [False, True])
def test_run(adit: Adit, manifest: str, port: int, tmp_path: Path, embedded: bool) -> None:
    own = {"ADIT_DATABASE_URL": "", "ADIT_WORKER_DATABASE_URL": ""} if embedded else {}
    if embedded:
        adit = Adit(tmp_path, {"ADIT_DATA": str(tmp_path / "embedded")})
    ended = adit("run", "--receive", f"127.0.0.1:{port}", manifest, "-o", "json")
    assert ended.code == 0, ended.err + str(own)
    [log] = tmp_path.rglob("receiver.log")
    assert only_logs(log.read_text())
    assert f"Receiver on 127.0.0.1:{port}." in ended.err
    [task] = ended.json["tasks"]
    assert {attempt["road"] for attempt in task["attempts"]} == {"C-MOVE"}
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 5
    with pytest.raises(ConnectionRefusedError):  # it went with the command
        socket.create_connection(("127.0.0.1", port)).close()


def only_logs(text: str) -> bool:
    """Whether each line is one of the receiver's log, and the last tells its end: Python died of no fatal error."""
    lines = [json.loads(line) for line in text.splitlines()]
    return bool(lines) and lines[-1]["event"] == "ended"


def children(of: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(of)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "adit_receiver" in line]


def test_up_keeps_it_running(adit: Adit, manifest: str, port: int, ledger: Ledger) -> None:
    up = adit.start("up", "--receive", f"127.0.0.1:{port}")
    assert up.stderr is not None
    line = ""
    while "Receiver on" not in line:
        line = up.stderr.readline()
        assert line, "it ended"
    assert re.search(rf"127\.0\.0\.1:{port}", line)
    wait_until(lambda: node(Peer(port)).probe().reachable, "it answers", 30)
    [first] = children(up.pid)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: children(up.pid) not in ([], [first]), "it is there again", 30)
    assert adit("apply", manifest).code == 0
    wait_until(lambda: summary(ledger, "by-move").state is JobState.SUCCESS, "the job is green", 60)
    [second] = children(up.pid)
    ended = adit.end(up, signal.SIGTERM)
    assert ended.code == 0
    assert "Fatal Python error" not in ended.err
    assert not Path(f"/proc/{second}").exists()


def test_killed_with_whoever_started_it(adit: Adit, port: int) -> None:
    up = adit.start("up", "--receive", f"127.0.0.1:{port}")
    wait_until(lambda: children(up.pid) != [], "it is there", 30)
    [child] = children(up.pid)
    wait_until(lambda: node(Peer(port)).probe().reachable, "it answers", 30)
    up.kill()
    up.communicate()
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "it is gone, too", 30)


@pytest.mark.parametrize("receive", ["nowhere", "127.0.0.1:99999", ""])
def test_a_wrong_address_is_told(adit: Adit, manifest: str, receive: str) -> None:
    ended = adit("run", "--receive", receive, manifest)
    assert ended.code == 2
    assert "--receive must be" in ended.err


def test_a_port_that_is_taken(adit: Adit, manifest: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = adit("run", "--receive", f"127.0.0.1:{taken.getsockname()[1]}", manifest)
    assert ended.code == 2
    assert "Cannot listen on" in ended.err
