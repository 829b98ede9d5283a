"""The facade as a process: what it needs, what it tells of itself, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adit.ledger.ledger import Ledger
from adit_api.services import utc_now
from tests.integration.ledger.scene import Scene, after
from tests.peers.server_process import free_port, wait_until


class Process:
    """`python -m adit_api` with an environment of its own."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        self.port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ADIT_", "KUBERNETES_"))}
        kept |= {"ADIT_LISTEN": f"127.0.0.1:{self.port}", **environment}
        with log.open("wb") as file:
            self.process = subprocess.Popen([sys.executable, "-m", "adit_api"], env=kept, stderr=file)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self, path: str) -> int:
        try:
            return httpx.get(self.url + path, timeout=5).status_code
        except httpx.TransportError:
            return 0

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def process(tmp_path: Path, ledger_url: str) -> Iterator[Process]:
    (tmp_path / "ADIT_DATABASE_URL").write_text(f"{ledger_url}\n")
    started = Process(tmp_path / "log", ADIT_CREDENTIALS=str(tmp_path))
    wait_until(lambda: started.status("/readyz") == 200, "it is ready", 60)
    yield started
    started.process.kill()
    started.process.wait()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "ADIT_DATABASE_URL"),
        ({"ADIT_DATABASE_URL": "postgresql://x/y", "ADIT_LISTEN": "8080"}, "ADIT_LISTEN"),
        ({"ADIT_DATABASE_URL": "postgresql://x/y", "ADIT_RATE_LIMIT": "often"}, "ADIT_RATE_LIMIT"),
        ({"ADIT_DATABASE_URL": "postgresql://x/y", "ADIT_REGISTRY": "cluster"}, "no way to a Kubernetes"),
    ],
)
def test_what_it_lacks_is_told_by_name(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    started = Process(tmp_path / "log", **{"KUBECONFIG": "", **environment})
    assert started.process.wait(60) == 2
    assert told in json.dumps(started.lines())


def test_it_stops_gently_with_a_stream_open(process: Process, ledger: Ledger, worker_url: str) -> None:
    Scene(ledger, worker_url).apply()
    token = ledger.create_token("t", ["read"], None, after(10**9), utc_now())
    begun, ended = threading.Event(), threading.Event()

    def listen() -> None:
        url = f"{process.url}/v1/transferjobs/default/ct/progress"
        with httpx.stream("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as stream:
            for _ in stream.iter_lines():
                begun.set()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    assert begun.wait(60)
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0
    assert ended.wait(90)
    assert process.lines()[-1]["event"] == "ended"


def test_its_document_and_metrics_are_there_without_a_token(process: Process) -> None:
    document = httpx.get(f"{process.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    bodies = [
        each["post"]["requestBody"] for each in document["paths"].values() if "requestBody" in each.get("post", {})
    ]
    assert bodies
    assert all("examples" in body["content"]["application/json"] for body in bodies)
    httpx.get(f"{process.url}/v1/transferjobs/default/somebody/tasks")
    httpx.get(f"{process.url}/etc/passwd")
    metrics = httpx.get(f"{process.url}/metrics").text
    assert 'route="/v1/transferjobs/{namespace}/{name}/tasks",status="401"' in metrics
    assert 'route="(none)",status="404"' in metrics
    assert "somebody" not in metrics
    assert "passwd" not in metrics


def test_a_ledger_that_is_not_migrated_is_not_ready(tmp_path: Path, ledger: Ledger, ledger_url: str) -> None:
    started = Process(tmp_path / "log", ADIT_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    try:
        wait_until(lambda: started.status("/healthz") == 200, "it is alive", 60)
        answer = httpx.get(f"{started.url}/readyz", timeout=30)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
    finally:
        started.process.kill()
        started.process.wait()
