"""The operator's way to the API server, against a real one: what it does, and what is refused for what it asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from uuid import uuid4

from prometheus_client import REGISTRY

from adit_operator.kubernetes_api import (
    JOBS,
    TRANSFER_JOBS,
    Kind,
    KubernetesApi,
    Object,
    Refusal,
)
from tests.cluster.api_server.callers import refused
from tests.cluster.api_server.objects import CONFIG_MAPS, config_map, names, suspended_job, transfer_job, uid_of
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.peers.server_process import wait_until


def test_an_object_is_created_read_and_deleted(api: KubernetesApi, namespace: str) -> None:
    created = api.create(CONFIG_MAPS, namespace, config_map("a", key="ä"))
    assert api.read(CONFIG_MAPS, namespace, "a") == created
    assert created["data"] == {"key": "ä"}
    assert api.delete(CONFIG_MAPS, namespace, "a") is True
    assert api.read(CONFIG_MAPS, namespace, "a") is None
    assert api.delete(CONFIG_MAPS, namespace, "a") is False


def test_what_a_deleted_job_owns_goes_with_it(api: KubernetesApi, namespace: str) -> None:
    """The server's own default for Jobs would orphan their pods."""
    job = api.create(JOBS, namespace, suspended_job("owner"))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "owner", "uid": uid_of(job)}
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = [owner]
    api.create(CONFIG_MAPS, namespace, owned)
    assert api.delete(JOBS, namespace, "owner", uid=uid_of(job), grace_seconds=0) is True
    wait_until(lambda: api.read(CONFIG_MAPS, namespace, "owned") is None, "the owned object is gone", 60)


def test_a_namesake_is_not_deleted(api: KubernetesApi, namespace: str) -> None:
    api.create(CONFIG_MAPS, namespace, config_map("a"))
    assert api.delete(CONFIG_MAPS, namespace, "a", uid=str(uuid4())) is False
    assert api.read(CONFIG_MAPS, namespace, "a") is not None


def test_a_list_is_read_by_pages_and_can_be_narrowed(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str
) -> None:
    api = connect(server=proxy.url, page=3)
    for index in range(8):
        body = config_map(f"c{index}")
        body["metadata"]["labels"] = {"part": "even" if index % 2 == 0 else "odd"}
        api.create(CONFIG_MAPS, namespace, body)
    proxy.requests.clear()
    assert names(api.list(CONFIG_MAPS, namespace)) == [f"c{index}" for index in range(8)]
    assert len(proxy.requests) == 3
    assert names(api.list(CONFIG_MAPS, namespace, labels="part in (even)")) == ["c0", "c2", "c4", "c6"]
    assert names(api.list(CONFIG_MAPS, namespace, fields="metadata.name=c5")) == ["c5"]
    everywhere = api.list(CONFIG_MAPS, None, labels="part=odd")
    assert {each["metadata"]["namespace"] for each in everywhere} == {namespace}


def test_a_status_is_applied_beside_what_others_say(
    api: KubernetesApi, control_plane: ControlPlane, namespace: str
) -> None:
    job = api.create(TRANSFER_JOBS, namespace, transfer_job("t"))
    first = api.apply_status(TRANSFER_JOBS, namespace, "t", {"observedGeneration": 1}, uid=uid_of(job))
    assert first["status"]["observedGeneration"] == 1
    assert first["spec"] == job["spec"]
    assert first["metadata"]["generation"] == job["metadata"]["generation"]
    fields = ("--subresource=status", "--type=merge", "-p", '{"status": {"observedGeneration": 7}}')
    control_plane.kubectl("-n", namespace, "patch", "transferjobs", "t", *fields)
    assert api.apply_status(TRANSFER_JOBS, namespace, "t", {"observedGeneration": 2})["status"] == {
        "observedGeneration": 2
    }
    managers = {each["manager"] for each in api.read(TRANSFER_JOBS, namespace, "t")["metadata"]["managedFields"]}  # type: ignore[index]
    assert "adit-operator" in managers


def test_a_status_for_an_object_that_is_gone_or_another_by_now_is_refused(api: KubernetesApi, namespace: str) -> None:
    said: Object = {"observedGeneration": 1}
    assert refused(lambda: api.apply_status(TRANSFER_JOBS, namespace, "t", said)).refusal is Refusal.NOT_FOUND
    gone = refused(lambda: api.apply_status(TRANSFER_JOBS, namespace, "t", said, uid=str(uuid4())))
    assert gone.refusal is Refusal.NOT_FOUND
    api.create(TRANSFER_JOBS, namespace, transfer_job("t"))
    other = refused(lambda: api.apply_status(TRANSFER_JOBS, namespace, "t", said, uid=str(uuid4())))
    assert other.refusal is Refusal.NOT_FOUND, "the object of that uid is gone, whoever has its name now"
    assert (api.read(TRANSFER_JOBS, namespace, "t") or {}).get("status", {}).get("observedGeneration", -1) == -1


def test_requests_are_counted_by_verb_kind_and_code(api: KubernetesApi, namespace: str) -> None:
    def count(verb: str, code: str) -> float:
        labels = {"verb": verb, "kind": "configmaps", "code": code}
        return REGISTRY.get_sample_value("adit_kubernetes_api_requests_total", labels) or 0

    before = count("create", "201"), count("create", "409"), count("get", "404")
    api.create(CONFIG_MAPS, namespace, config_map("a"))
    refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a")))
    api.read(CONFIG_MAPS, namespace, "b")
    assert (count("create", "201"), count("create", "409"), count("get", "404")) == tuple(n + 1 for n in before)


def test_many_threads_share_one(api: KubernetesApi, namespace: str) -> None:
    def create(index: int) -> None:
        api.create(CONFIG_MAPS, namespace, config_map(f"c{index}"))

    threads = [threading.Thread(target=create, args=(index,)) for index in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(api.list(CONFIG_MAPS, namespace))) == 40


def test_what_exists_is_not_created_again(api: KubernetesApi, namespace: str) -> None:
    api.create(CONFIG_MAPS, namespace, config_map("a"))
    error = refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a")))
    assert (error.refusal, error.code) == (Refusal.ALREADY_EXISTS, 409)
    assert namespace not in str(error)


def test_a_stale_replacement_is_a_conflict(api: KubernetesApi, namespace: str) -> None:
    first = api.create(CONFIG_MAPS, namespace, config_map("a", key="1"))
    second = api.replace(CONFIG_MAPS, namespace, "a", first | {"data": {"key": "2"}})
    assert refused(lambda: api.replace(CONFIG_MAPS, namespace, "a", first)).refusal is Refusal.CONFLICT
    assert api.read(CONFIG_MAPS, namespace, "a") == second


def test_a_kind_that_is_not_served_is_no_missing_object(api: KubernetesApi, namespace: str) -> None:
    unknown = Kind("adit.dev", "v1alpha1", "unheardof", "Unheard")
    assert refused(lambda: api.read(unknown, namespace, "a")).refusal is Refusal.NOT_FOUND
    assert refused(lambda: api.delete(unknown, namespace, "a")).refusal is Refusal.NOT_FOUND
    assert refused(lambda: next(api.list(unknown, namespace))).refusal is Refusal.NOT_FOUND


def test_nothing_is_created_in_a_namespace_that_is_not_there(api: KubernetesApi) -> None:
    error = refused(lambda: api.create(CONFIG_MAPS, "nowhere", config_map("a")))
    assert error.refusal is Refusal.NOT_FOUND


def test_what_breaks_the_schema_is_invalid(api: KubernetesApi, namespace: str) -> None:
    body = transfer_job("t")
    body["spec"]["priority"] = "Yesterday"
    assert refused(lambda: api.create(TRANSFER_JOBS, namespace, body)).refusal is Refusal.INVALID
    assert refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("Not A Name"))).refusal is Refusal.INVALID
    garbled = {"metadata": {"name": "j"}, "spec": {"template": 7}}
    assert refused(lambda: api.create(JOBS, namespace, garbled)).refusal is Refusal.INVALID


def test_a_list_whose_token_expired_begins_anew_and_gives_each_object_once(
    connect: Callable[..., KubernetesApi], control_plane: ControlPlane, namespace: str
) -> None:
    api = connect(page=2)
    for index in range(5):
        api.create(CONFIG_MAPS, namespace, config_map(f"c{index}"))
    before = _gone_answers()
    listed = api.list(CONFIG_MAPS, namespace)
    given = names(iter([next(listed), next(listed)]))
    path = f"/api/v1/namespaces/{namespace}/configmaps?limit=1"
    token = json.loads(control_plane.kubectl("get", "--raw", path))["metadata"]["continue"]
    api.delete(CONFIG_MAPS, namespace, "c3")
    api.create(CONFIG_MAPS, namespace, config_map("c7"))
    wait_until(lambda: not control_plane.allows("get", "--raw", f"{path}&continue={token}"), "tokens have expired", 60)
    given += names(listed)
    assert given == ["c0", "c1", "c2", "c4", "c7"]
    assert _gone_answers() > before


def test_a_list_whose_tokens_keep_expiring_is_refused_rather_than_short(
    connect: Callable[..., KubernetesApi], proxy: FaultyProxy, namespace: str
) -> None:
    api = connect(server=proxy.url, page=2)
    for index in range(3):
        api.create(CONFIG_MAPS, namespace, config_map(f"c{index}"))
    proxy.react = lambda method, path: Reaction(answer=410) if "continue=" in path else PASS
    listed = api.list(CONFIG_MAPS, namespace)
    assert names(iter([next(listed), next(listed)])) == ["c0", "c1"]
    assert refused(lambda: next(listed)).refusal is Refusal.GONE


def _gone_answers() -> float:
    labels = {"verb": "list", "kind": "configmaps", "code": "410"}
    return REGISTRY.get_sample_value("adit_kubernetes_api_requests_total", labels) or 0
