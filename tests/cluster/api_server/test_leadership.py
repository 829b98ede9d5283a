"""Leaders by Lease, on a real API server: killed, stopped, frozen, cut off; one at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from adit_operator.election import ElectionSettings
from adit_operator.kubernetes_api import LEASES, KubernetesApi
from adit_operator.kubernetes_login import login
from adit_operator.leadership import Leadership, NotLeading
from tests.cluster.api_server.candidate_process import LEASE, LOST
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.peers.server_process import wait_until

SETTINGS = ElectionSettings(lease=3, renew=2, retry=0.2)


class Candidate:
    """A `candidate_process`, and the lines that it wrote."""

    def __init__(self, control_plane: ControlPlane, namespace: str, identity: str, work: Path) -> None:
        self.identity = identity
        self._work = work
        command = [sys.executable, "-m", "tests.cluster.api_server.candidate_process", namespace, identity, str(work)]
        self.process = subprocess.Popen(command, env={"KUBECONFIG": str(control_plane.kubeconfig())})

    @property
    def lines(self) -> int:
        return self._work.read_text().splitlines().count(self.identity) if self._work.exists() else 0

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Callable[[str], Candidate]]:
    started: list[Candidate] = []

    def start(identity: str) -> Candidate:
        started.append(Candidate(control_plane, namespace, identity, tmp_path / "work"))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_a_killed_leader_is_followed_by_the_standby(start: Callable[[str], Candidate]) -> None:
    first = start("first")
    wait_until(lambda: first.lines > 0, "the first leads")
    second = start("second")
    lines = first.lines
    wait_until(lambda: first.lines > lines + 100, "the first has led for longer than a lease")
    assert second.lines == 0
    first.end()
    wait_until(lambda: second.lines > 0, "the standby has followed")


def test_a_stopped_leader_gives_the_lease_back(start: Callable[[str], Candidate], namespace: str) -> None:
    first = start("first")
    wait_until(lambda: first.lines > 0, "the first leads")
    second = start("second")
    first.process.terminate()
    assert first.process.wait(20) == 0
    wait_until(lambda: second.lines > 0, "the standby has followed")


def test_a_leader_that_was_frozen_past_its_lease_does_nothing_when_it_wakes(
    start: Callable[[str], Candidate],
) -> None:
    first = start("first")
    wait_until(lambda: first.lines > 0, "the first leads")
    second = start("second")
    first.process.send_signal(signal.SIGSTOP)
    frozen_at = first.lines
    wait_until(lambda: second.lines > 0, "the standby has followed")
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(20) == LOST
    assert first.lines <= frozen_at + 1  # what it had been about to write when it was frozen
    lines = second.lines
    wait_until(lambda: second.lines > lines, "the second still leads")


def test_a_container_that_restarts_takes_up_its_pods_lease_at_once(start: Callable[[str], Candidate]) -> None:
    first = start("pod-1")
    wait_until(lambda: first.lines > 0, "it leads")
    first.end()
    lines = first.lines
    again = start("pod-1")
    wait_until(lambda: again.lines > lines, "it leads again", SETTINGS.lease)


class _Cut:
    """A leadership in this process, behind a proxy that can be told to swallow everything."""

    def __init__(self, control_plane: ControlPlane, namespace: str, identity: str) -> None:
        self.proxy = FaultyProxy(control_plane.url, control_plane.ca)
        self.silence_over = threading.Event()
        self.lost = threading.Event()
        self._environment = {"KUBECONFIG": str(control_plane.kubeconfig(server=self.proxy.url))}
        self.api = KubernetesApi(lambda: login(self._environment), connect_seconds=0.5, read_seconds=30)
        self.leadership = Leadership(self.api, namespace, LEASE, identity, on_lost=self.lost.set, settings=SETTINGS)

    def __enter__(self) -> _Cut:
        self.proxy.__enter__()
        self.leadership.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.silence_over.set()
        self.proxy.react = lambda method, path: PASS
        self.leadership.stop()
        self.proxy.__exit__(None, None, None)
        self.api.close()


def test_a_leader_whose_renewal_hangs_is_told_before_another_leads(control_plane: ControlPlane, namespace: str) -> None:
    with _Cut(control_plane, namespace, "cut-off") as first:
        assert first.leadership.wait(10)
        first.leadership.check()
        silent = Reaction(answer=503, before=lambda: first.silence_over.wait(60))
        first.proxy.react = lambda method, path: silent
        with _Cut(control_plane, namespace, "other") as second:
            assert second.leadership.wait(20)
            assert first.lost.is_set()
            assert not first.leadership.leads()
            with pytest.raises(NotLeading):
                first.leadership.check()
            first.silence_over.set()


def test_a_leader_survives_what_passes_and_knows_when_the_lease_is_anothers(
    control_plane: ControlPlane, namespace: str
) -> None:
    with _Cut(control_plane, namespace, "me") as me:
        assert me.leadership.wait(10)
        assert REGISTRY.get_sample_value("adit_operator_leader") == 1
        me.proxy.react_once(Reaction(answer=500), Reaction(cut=True), Reaction(answer=429))
        renewals = len(me.proxy.requests)
        wait_until(lambda: len(me.proxy.requests) > renewals + 6, "it went on renewing")
        assert me.leadership.leads()
        control_plane.kubectl("-n", namespace, "delete", "lease", LEASE)
        wait_until(lambda: control_plane.allows("-n", namespace, "get", "lease", LEASE), "the Lease is there again")
        assert me.leadership.leads()
        control_plane.kubectl(
            "-n", namespace, "patch", "lease", LEASE, "--type=merge", "-p", '{"spec": {"holderIdentity": "usurper"}}'
        )
        assert me.lost.wait(SETTINGS.renew)
        assert not me.leadership.leads()
        assert REGISTRY.get_sample_value("adit_operator_leader") == 0


def test_what_the_lease_says(control_plane: ControlPlane, namespace: str) -> None:
    with _Cut(control_plane, namespace, "me") as me:
        assert me.leadership.wait(10)
        lease = me.api.read(LEASES, namespace, LEASE)
        assert lease is not None
        assert lease["spec"]["holderIdentity"] == "me"
        assert lease["spec"]["leaseDurationSeconds"] == SETTINGS.lease
        me.leadership.stop()
        assert not me.lost.is_set()
        released = me.api.read(LEASES, namespace, LEASE)
        assert released is not None
        assert released["spec"]["holderIdentity"] == ""
