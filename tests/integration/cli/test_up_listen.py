"""`adit up --listen`: the REST API beside the dispatcher, a process of its own that lives and dies with it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adit.ledger.ledger import Ledger
from adit.model.dicom_node import DicomNode
from adit.model.state import JobState
from tests.integration.cli.command import Adit
from tests.integration.cli.test_up import summary
from tests.integration.ledger.scene import NOW
from tests.peers.server_process import wait_until
from tests.samples import ct_study


class Up:
    """A running `adit up --listen`, its address read from what it says."""

    def __init__(self, adit: Adit, log: Path) -> None:
        self.adit, self.log = adit, log
        self.process = adit.start("up", "--listen", "127.0.0.1:0")
        assert self.process.stderr is not None
        line = ""
        while "REST API on" not in line:
            line = self.process.stderr.readline()
            assert line, "it ended"
        found = re.search(r"http://[^ ]+/v1", line)
        assert found is not None
        self.url = found[0]
        wait_until(self.answers, "the API answers", 30)

    def answers(self) -> bool:
        try:
            return httpx.get(self.url.removesuffix("/v1") + "/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def children(self) -> list[int]:
        """The facades that it started."""
        found = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        )
        return [int(line.split()[0]) for line in found.stdout.splitlines() if "adit_api" in line]


@pytest.fixture
def up(adit: Adit, tmp_path: Path) -> Iterator[Up]:
    started = Up(adit, tmp_path / "log")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_job_posted_there_is_done(up: Up, adit: Adit, ledger: Ledger, tmp_path: Path) -> None:
    study = ct_study(2, seed="listen")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        node = {"kind": "DicomNode", "metadata": {"name": name}, "spec": {"folder": {"path": str(tmp_path / name)}}}
        ledger.apply_node(DicomNode.model_validate(node), NOW)
    for number, file in enumerate(study.files()):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(file)
    token = adit("token", "create", "portal", "-s", "read", "-s", "write").out.strip()
    with httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        uid = study.instances[0].StudyInstanceUID
        posted = client.post("/selections", json={"name": "cohort", "studies": [{"studyInstanceUID": uid}]})
        assert posted.status_code == 201, posted.text
        spec = {"source": {"node": "in"}, "destination": {"node": "out"}, "selection": {"list": {"name": "cohort"}}}
        created = client.post("/transferjobs", json={"metadata": {"name": "ct"}, "spec": spec})
        assert created.status_code == 201, created.text
        with client.stream("GET", "/transferjobs/default/ct/progress") as stream:
            events = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
        assert events[-1] == "end"
        assert client.get("/transferjobs/default/ct").json()["state"] == "Success"
    assert summary(ledger, "ct").state is JobState.SUCCESS
    (child,) = up.children()
    ended = adit.end(up.process, signal.SIGTERM)
    assert ended.code == 0, ended.err
    assert gone(child)


def test_it_is_started_again_when_it_dies(up: Up, adit: Adit) -> None:
    (child,) = up.children()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: up.children() not in ([], [child]) and up.answers(), "another one answers", 30)
    (second,) = up.children()
    assert adit.end(up.process, signal.SIGINT).code == 0
    assert gone(second)


def test_it_ends_with_a_parent_that_was_killed(up: Up) -> None:
    (child,) = up.children()
    up.process.kill()
    up.process.communicate()
    wait_until(lambda: gone(child), "the orphan has ended", 30)


def test_without_an_address_nothing_listens_and_a_wrong_one_is_refused(adit: Adit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = adit("up", "--listen", f"127.0.0.1:{port}")
    assert refused.code == 2
    assert "Choose another address" in refused.err
    assert adit("up", "--listen", "8080").code == 2
