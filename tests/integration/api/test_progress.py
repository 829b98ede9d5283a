"""Server-sent events: how a job stands, whenever that changes, until it ends; whatever happens to the ledger."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adit.ledger.connection import engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate
from adit.ledger.records import TaskSeed
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, Scene, transfer_job
from tests.peers.server_process import wait_until
from tests.postgres import fast_place


class Listener:
    """Reads a stream in a thread; `events` grows until the server ends it."""

    def __init__(self, facade: Facade, path: str, token: str, **headers: str) -> None:
        self.events: list[tuple[str, Any]] = []
        self.ended = threading.Event()
        arguments = (facade.url + path, {"Authorization": f"Bearer {token}", **headers})
        threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        name = ""
        with httpx.stream("GET", url, headers=headers, timeout=30) as stream:
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.events.append((name, json.loads(line.removeprefix("data: "))))
        self.ended.set()

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


PROGRESS = "/v1/transferjobs/default/ct/progress"


def test_a_stream_tells_each_change_and_ends_with_the_job(facade: Facade, admin: str, scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=["1.2.1", "1.2.2"]))
    listener = Listener(facade, PROGRESS, admin, **{"Last-Event-ID": "17"})
    wait_until(lambda: len(listener.events) == 1, "the stream begins with how things are", 60)
    scene.run(job.id)
    wait_until(lambda: listener.events[-1][1]["tasks"]["succeeded"] == 1, "the first task is told", 60)
    scene.run(job.id)
    scene.ledger.close_jobs(NOW)
    assert listener.ended.wait(60)
    assert listener.names()[-1] == "end"
    assert listener.events[-1][1]["state"] == "Success"
    assert all(left != right for left, right in zip(listener.events, listener.events[1:], strict=False))


def test_a_stream_of_an_ended_job_ends_at_once(facade: Facade, admin: str, scene: Scene) -> None:
    scene.run(scene.apply().id)
    scene.ledger.close_jobs(NOW)
    listener = Listener(facade, PROGRESS, admin)
    assert listener.ended.wait(60)
    assert listener.names() == ["end"]


def test_a_stream_of_a_job_that_goes_away_says_so(facade: Facade, admin: str, scene: Scene) -> None:
    job = scene.apply()
    listener = Listener(facade, PROGRESS, admin)
    wait_until(lambda: len(listener.events) == 1, "it begins", 60)
    scene.ledger.delete_job(job.id, NOW)
    assert listener.ended.wait(60)
    assert listener.names()[-1] == "gone"


def test_there_is_no_stream_of_nothing(facade: Facade, admin: str) -> None:
    answer = facade.call("GET", PROGRESS, admin)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


# --- the ledger goes away ---


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    with (
        tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as folder,
        EmbeddedPostgres(Path(folder) / "data", fsync=False) as server,
    ):
        migrate(server.url)
        yield server


def test_a_ledger_that_goes_away_is_waited_for(own_server: EmbeddedPostgres, log_file: Path) -> None:
    source = engine(own_server.url)
    scene = Scene(Ledger(source), own_server.worker_url)
    job = scene.apply(transfer_job(selection={"list": {"name": "many"}}))
    scene.ledger.expand(job.id, [TaskSeed(f"1.2.{n}") for n in range(5000)], NOW)
    settings = Settings(database_url=own_server.url)
    with running(scene.ledger, settings) as facade:
        token = facade.token("admin")
        listener = Listener(facade, PROGRESS, token)
        wait_until(lambda: len(listener.events) == 1, "the stream begins", 60)
        with facade.client.stream(
            "GET", "/v1/transferjobs/default/ct/manifest", headers={"Authorization": f"Bearer {token}"}
        ) as stream:
            parts = stream.iter_raw(1000)
            assert next(parts).startswith(b'{"version": 1')
            os.kill(int((own_server.data / "cluster" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError):  # a half proof is no whole one
                list(parts)
        away = facade.call("GET", "/v1/transferjobs/default/ct", token)
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert away.json()["type"] == "urn:adit:problem:unavailable"
        assert facade.call("GET", "/readyz").status_code == 503
        assert facade.call("GET", "/healthz").status_code == 200
        wait_until(lambda: "unavailable" in listener.names(), "the stream tells of it", 60)
        own_server.revive()
        wait_until(lambda: facade.call("GET", "/readyz").status_code == 200, "it is ready again", 60)
        assert facade.call("GET", "/v1/transferjobs/default/ct", token).status_code == 200
        wait_until(lambda: listener.names()[-1] == "progress", "the stream goes on", 60)
        scene.ledger.delete_job(scene.record().id, NOW)
        assert listener.ended.wait(60)
    source.dispose()
