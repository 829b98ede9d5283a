"""A real API server that is busy, frozen, cut off or gone: what is asked again, what never, and what it is called."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from adit_operator.kubernetes_api import (
    TRANSFER_JOBS,
    ApiRefused,
    KubernetesApi,
    Object,
    Refusal,
)
from tests.cluster.api_server.callers import JAILED, refused
from tests.cluster.api_server.objects import CONFIG_MAPS, config_map, names, transfer_job
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import FaultyProxy, Reaction
from tests.peers.server_process import wait_until
from tests.peers.webhook import Webhook


def test_a_server_without_a_seat_for_us_has_too_many_requests(
    connect: Callable[..., KubernetesApi], control_plane: ControlPlane, namespace: str
) -> None:
    version = "flowcontrol.apiserver.k8s.io/v1"
    limits = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    level = {
        "apiVersion": version,
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "jail"},
        "spec": {"type": "Limited", "limited": limits | {"limitResponse": {"type": "Reject"}}},
    }
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    schema = {
        "apiVersion": version,
        "kind": "FlowSchema",
        "metadata": {"name": "jail"},
        "spec": {
            "priorityLevelConfiguration": {"name": "jail"},
            "matchingPrecedence": 2,
            "rules": [{"subjects": [{"kind": "Group", "group": {"name": "jailed"}}], "resourceRules": [rule]}],
        },
    }
    binding = ("create", "clusterrolebinding", "jailed", "--clusterrole=cluster-admin", "--group=jailed")
    control_plane.kubectl(*binding)
    control_plane.apply(level, schema)
    over = threading.Event()

    def answer() -> Object:
        over.wait(30)
        return {"allowed": True}

    def take_the_only_seat() -> None:
        for index in itertools.count():
            if webhook.asked or over.is_set():
                return
            connect(JAILED).create(CONFIG_MAPS, namespace, config_map(f"c{index}"))

    waits: list[float] = []
    jailed = connect(JAILED, wait=waits.append)
    with Webhook(control_plane.certificates, "holds-the-seat", answer) as webhook:
        control_plane.apply(webhook.configuration(namespace, "configmaps", timeout_seconds=30))
        holder = threading.Thread(target=take_the_only_seat)
        holder.start()
        try:
            wait_until(lambda: webhook.asked > 0, "the seat is taken", 30)
            error = refused(lambda: jailed.create(CONFIG_MAPS, namespace, config_map("a")))
            assert (error.refusal, error.code) == (Refusal.TOO_MANY_REQUESTS, 429)
            assert error.retry_after is not None
            assert waits == []
            assert refused(lambda: jailed.read(CONFIG_MAPS, namespace, "a")).refusal is Refusal.TOO_MANY_REQUESTS
            assert len(waits) == 3
            assert all(1 <= each <= 10 for each in waits)
        finally:
            over.set()
            holder.join()
    assert jailed.read(CONFIG_MAPS, namespace, "a") is None


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_for_patience_gets_it_for_what_can_be_repeated(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str, code: int
) -> None:
    waits: list[float] = []
    api = connect(server=proxy.url, wait=waits.append)
    busy = Reaction(answer=code, headers={"Retry-After": "2"})
    job = api.create(TRANSFER_JOBS, namespace, transfer_job("t"))
    proxy.react_once(busy, busy)
    assert api.read(TRANSFER_JOBS, namespace, "t") == job
    proxy.react_once(busy)
    assert names(api.list(TRANSFER_JOBS, namespace)) == ["t"]
    proxy.react_once(busy)
    api.apply_status(TRANSFER_JOBS, namespace, "t", {"observedGeneration": 1})
    proxy.react_once(busy)
    assert api.delete(TRANSFER_JOBS, namespace, "t") is True
    assert len(waits) == 5
    assert all(2 <= each <= 3 for each in waits)


def test_patience_ends(connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str) -> None:
    waits: list[float] = []
    api = connect(server=proxy.url, wait=waits.append)
    proxy.react = lambda method, path: Reaction(answer=429, headers={"Retry-After": "1"})
    assert refused(lambda: api.read(CONFIG_MAPS, namespace, "a")).refusal is Refusal.TOO_MANY_REQUESTS
    assert len(proxy.requests) == 4
    proxy.react = lambda method, path: Reaction(answer=503, headers={"Retry-After": "60"})
    error = refused(lambda: api.read(CONFIG_MAPS, namespace, "a"))
    assert (error.refusal, error.retry_after) == (Refusal.UNAVAILABLE, 60)
    assert len(waits) == 3


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_a_create_is_never_repeated(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str, code: int
) -> None:
    api = connect(server=proxy.url)
    proxy.react_once(Reaction(answer=code, headers={"Retry-After": "1"}, body=b"<html>no</html>"))
    error = refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a")))
    assert error.refusal is (Refusal.TOO_MANY_REQUESTS if code == 429 else Refusal.UNAVAILABLE)
    assert (error.code, error.retry_after) == (code, 1)
    assert len(proxy.requests) == 1


def test_a_connection_cut_after_the_create_leaves_what_was_created(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str
) -> None:
    api = connect(server=proxy.url)
    proxy.react_once(Reaction(cut=True))
    error = refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a", key="mine")))
    assert (error.refusal, error.code) == (Refusal.UNAVAILABLE, None)
    assert len(proxy.requests) == 1
    again = refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a", key="mine")))
    assert again.refusal is Refusal.ALREADY_EXISTS
    assert (api.read(CONFIG_MAPS, namespace, "a") or {})["data"] == {"key": "mine"}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"metadata": {', b"<html>"])
def test_an_answer_that_is_no_object_is_no_answer(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str, body: bytes
) -> None:
    proxy.react = lambda method, path: Reaction(answer=200, body=body)
    error = refused(lambda: connect(server=proxy.url).read(CONFIG_MAPS, namespace, "a"))
    assert error.refusal is Refusal.UNAVAILABLE


def test_a_frozen_server_is_unavailable_in_time_and_used_again_when_it_wakes(
    connect: Callable[..., KubernetesApi], control_plane: ControlPlane, namespace: str
) -> None:
    api = connect(connect_seconds=0.5, read_seconds=0.5)
    wait_until(lambda: _answers(api, namespace), "the server answers within that")
    control_plane.api_server.pause()
    try:
        error = refused(lambda: api.read(CONFIG_MAPS, namespace, "a"))
        assert (error.refusal, error.code) == (Refusal.UNAVAILABLE, None)
        assert refused(lambda: next(api.list(CONFIG_MAPS, namespace))).refusal is Refusal.UNAVAILABLE
    finally:
        control_plane.api_server.resume()
    wait_until(lambda: _answers(api, namespace), "the server answers again")


def test_a_server_that_is_not_there_is_unavailable(connect: Callable[..., KubernetesApi], namespace: str) -> None:
    api = connect(server="http://127.0.0.1:1")
    assert refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a"))).refusal is Refusal.UNAVAILABLE


def _answers(api: KubernetesApi, namespace: str) -> bool:
    try:
        return api.read(CONFIG_MAPS, namespace, "a") is None
    except ApiRefused:
        return False
