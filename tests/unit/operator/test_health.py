"""The operator's HTTP side, started and asked: alive, ready, measured."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest
import urllib3

from adit_operator import metrics
from adit_operator.health import PULSE_SECONDS, HealthServer, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(clock: Clock) -> Pulse:
    return Pulse(clock)


@pytest.fixture
def server(pulse: Pulse) -> Iterator[HealthServer]:
    with HealthServer("127.0.0.1:0", pulse) as server:
        yield server


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str]:
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        answer = pool.request(method, f"http://127.0.0.1:{server.port}{path}")
        return answer.status, answer.data.decode()


def test_it_is_alive_while_every_loop_beats_as_it_promised(server: HealthServer, pulse: Pulse, clock: Clock) -> None:
    assert ask(server, "/healthz") == (200, "ok\n")
    pulse.beat("dispatcher", 30)
    pulse.beat("sweep", 600)
    clock.now += 30
    assert ask(server, "/healthz") == (200, "ok\n")
    clock.now += 1
    assert ask(server, "/healthz") == (503, "stalled: dispatcher\n")
    pulse.beat("dispatcher", 30)
    assert ask(server, "/healthz") == (200, "ok\n")
    pulse.ended("dispatcher")
    clock.now += 100
    assert ask(server, "/healthz") == (200, "ok\n")


def test_a_loop_that_promises_nothing_has_a_minute(server: HealthServer, pulse: Pulse, clock: Clock) -> None:
    pulse.beat()
    clock.now += PULSE_SECONDS + 1
    assert ask(server, "/healthz") == (503, "stalled: main\n")
    assert ask(server, "/metrics")[0] == 200


def test_it_is_ready_once_it_is_told_so(server: HealthServer) -> None:
    assert ask(server, "/readyz") == (503, "starting\n")
    assert ask(server, "/healthz") == (200, "ok\n")
    server.ready()
    assert ask(server, "/readyz") == (200, "ok\n")


def test_it_tells_its_numbers(server: HealthServer) -> None:
    metrics.OLDEST_DUE_SECONDS.set(12.5)
    metrics.LAUNCHES.labels("of-a-test").inc()
    metrics.OPEN_JOBS.set(3)
    code, text = ask(server, "/metrics")
    assert code == 200
    lines = text.splitlines()
    assert "adit_operator_oldest_due_task_age_seconds 12.5" in lines
    assert "adit_operator_open_jobs 3.0" in lines
    assert 'adit_operator_launches_total{result="of-a-test"} 1.0' in lines
    assert any(line.startswith("# HELP adit_kubernetes_api_requests_total") for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


@pytest.mark.parametrize("path", ["/", "/healthz/", "/metrics/x", "/%2e%2e/etc/passwd"])
def test_it_tells_nothing_else(server: HealthServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_it_answers_what_probes_send(server: HealthServer) -> None:
    assert ask(server, "/healthz?verbose")[0] == 200
    assert ask(server, "/healthz", "HEAD") == (200, "")
    assert ask(server, "/healthz", "POST")[0] == 501


def test_clients_that_say_nothing_or_nonsense_keep_no_other_waiting(
    server: HealthServer, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    nonsense = socket.create_connection(("127.0.0.1", server.port))
    nonsense.sendall(b"\x16\x03\x01\x00\xa5" * 10 + b"\r\n\r\n")
    assert ask(server, "/healthz")[0] == 200
    for each in [*silent, nonsense]:
        each.close()
    assert capsys.readouterr().err == ""


def test_it_can_be_stopped_and_started_anew_on_the_same_port(pulse: Pulse) -> None:
    with HealthServer("127.0.0.1:0", pulse) as first:
        port = first.port
        ask(first, "/healthz")
    with HealthServer(f":{port}", pulse) as second:
        assert ask(second, "/healthz")[0] == 200


def test_loops_of_many_threads_beat_while_it_is_asked(server: HealthServer, pulse: Pulse) -> None:
    over = threading.Event()

    def beat(name: str) -> None:
        while not over.is_set():
            pulse.beat(name, 1)

    threads = [threading.Thread(target=beat, args=(f"loop-{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert {ask(server, "/healthz")[0] for _ in range(20)} == {200}
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_no_number_is_labelled_with_a_name_that_a_user_chose() -> None:
    allowed = {"verb", "kind", "code", "part", "result", "correction"}
    labels = {label for each in vars(metrics).values() for label in getattr(each, "_labelnames", ())}
    assert labels <= allowed, json.dumps(sorted(labels))
