"""The operator's way to the API server, against a real one: what it does, and what each refusal is called."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from adit_operator.kubernetes_api import (
    JOBS,
    TRANSFER_JOBS,
    ApiRefused,
    Kind,
    KubernetesApi,
    Object,
    Refusal,
)
from adit_operator.kubernetes_login import NoCluster, login
from tests.cluster.quota import limit
from tests.peers.control_plane import ADMIN, ControlPlane
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.peers.server_process import wait_until
from tests.peers.webhook import Webhook

CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Kind("", "v1", "serviceaccounts", "ServiceAccount")
CRDS = Path(__file__).parents[2] / "crds"
JAILED = "token-of-the-jailed"
POWERLESS = "token-of-the-powerless"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    tokens = {JAILED: "jailed", POWERLESS: "powerless"}
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), tokens=tokens) as plane:
        plane.kubectl("apply", "-f", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def connect(control_plane: ControlPlane) -> Iterator[Callable[..., KubernetesApi]]:
    """A client of the control plane, or of `server`, as the bearer of `token`."""
    opened: list[KubernetesApi] = []

    def connect(token: str = ADMIN, server: str | None = None, **settings: Any) -> KubernetesApi:
        environment = {"KUBECONFIG": str(control_plane.kubeconfig(token, server))}
        opened.append(KubernetesApi(lambda: login(environment), **settings))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def api(connect: Callable[..., KubernetesApi]) -> KubernetesApi:
    return connect()


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, control_plane.ca) as proxy:
        yield proxy


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def transfer_job(name: str) -> Object:
    return {
        "apiVersion": TRANSFER_JOBS.api_version,
        "kind": TRANSFER_JOBS.name,
        "metadata": {"name": name},
        "spec": {
            "source": {"node": "a"},
            "destination": {"node": "b"},
            "selection": {"studies": [{"studyInstanceUID": "1.2.3"}]},
        },
    }


def suspended_job(name: str) -> Object:
    container = {"name": "it", "image": "localhost/none"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {"metadata": {"name": name}, "spec": {"suspend": True, "template": {"spec": pod}}}


def make_reader(control_plane: ControlPlane, namespace: str, name: str) -> None:
    """A service account that may read ConfigMaps and nothing else."""
    control_plane.kubectl("-n", namespace, "create", "serviceaccount", name)
    control_plane.kubectl("-n", namespace, "create", "role", name, "--verb=get", "--resource=configmaps")
    subject = f"--serviceaccount={namespace}:{name}"
    control_plane.kubectl("-n", namespace, "create", "rolebinding", name, f"--role={name}", subject)


def refused(call: Callable[[], object]) -> ApiRefused:
    with pytest.raises(ApiRefused) as caught:
        call()
    return caught.value


def names(objects: Iterator[Object]) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def uid_of(each: Object) -> str:
    return str(each["metadata"]["uid"])


# --- what it does ---


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


# --- 404, 409, 410, 422 ---


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


# --- 403: by RBAC, quota, policy, webhook ---


def test_a_right_that_is_missing_is_told_from_a_refusal_to_admit(
    connect: Callable[..., KubernetesApi], namespace: str
) -> None:
    powerless = connect(POWERLESS)
    error = refused(lambda: powerless.create(CONFIG_MAPS, namespace, config_map("a")))
    assert (error.refusal, error.code) == (Refusal.FORBIDDEN, 403)
    for call in (
        lambda: powerless.read(CONFIG_MAPS, namespace, "a"),
        lambda: next(powerless.list(CONFIG_MAPS, namespace)),
        lambda: powerless.delete(CONFIG_MAPS, namespace, "a"),
        lambda: powerless.replace(CONFIG_MAPS, namespace, "a", config_map("a")),
        lambda: powerless.apply_status(TRANSFER_JOBS, namespace, "a", {}),
    ):
        assert refused(call).refusal is Refusal.FORBIDDEN


def test_a_service_account_may_do_what_its_role_says_and_no_more(
    connect: Callable[..., KubernetesApi], control_plane: ControlPlane, namespace: str
) -> None:
    make_reader(control_plane, namespace, "reader")
    api = connect(control_plane.kubectl("-n", namespace, "create", "token", "reader").strip())
    wait_until(lambda: _may_read(api, namespace), "the role is known")
    assert refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a"))).refusal is Refusal.FORBIDDEN


def _may_read(api: KubernetesApi, namespace: str) -> bool:
    try:
        return api.read(CONFIG_MAPS, namespace, "none") is None
    except ApiRefused as error:
        if error.refusal is not Refusal.FORBIDDEN:
            raise
        return False


def test_an_exhausted_quota_does_not_admit_until_it_is_raised(
    api: KubernetesApi, control_plane: ControlPlane, namespace: str
) -> None:
    limit(control_plane.kubectl, namespace, "count/jobs.batch", 1)
    api.create(JOBS, namespace, suspended_job("first"))
    error = refused(lambda: api.create(JOBS, namespace, suspended_job("second")))
    assert (error.refusal, error.code) == (Refusal.NOT_ADMITTED, 403)
    limit(control_plane.kubectl, namespace, "count/jobs.batch", 2)
    wait_until(lambda: _is_created(api, namespace, "second"), "the raised quota admits")


def _is_created(api: KubernetesApi, namespace: str, name: str) -> bool:
    try:
        api.create(JOBS, namespace, suspended_job(name))
    except ApiRefused as error:
        if error.refusal not in (Refusal.NOT_ADMITTED, Refusal.CONFLICT):
            raise
        return False
    return True


@pytest.mark.parametrize("reason", ["Invalid", "Forbidden", None])
def test_an_admission_policy_that_says_no_does_not_admit(
    api: KubernetesApi, control_plane: ControlPlane, namespace: str, reason: str | None
) -> None:
    name = f"no-{uuid4().hex[:8]}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    validation = {"expression": "!object.metadata.name.startsWith('no')"} | ({"reason": reason} if reason else {})
    version = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [validation]},
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    control_plane.apply(policy, binding)
    error = _refused_at_last(api, namespace, "no")
    assert error.refusal is Refusal.NOT_ADMITTED
    api.create(CONFIG_MAPS, namespace, config_map("yes"))


@pytest.mark.parametrize("status", [None, {"code": 403, "message": "No."}, {"code": 422}])
def test_a_webhook_that_says_no_does_not_admit(
    api: KubernetesApi, control_plane: ControlPlane, namespace: str, status: Object | None
) -> None:
    answer: Object = {"allowed": False} | ({} if status is None else {"status": status})
    with Webhook(control_plane.certificates, f"no-{uuid4().hex[:8]}", lambda: answer) as webhook:
        control_plane.apply(webhook.configuration(namespace, "configmaps"))
        assert _refused_at_last(api, namespace, "no").refusal is Refusal.NOT_ADMITTED
        assert webhook.asked > 0


def test_a_webhook_that_does_not_answer_makes_the_server_unavailable(
    api: KubernetesApi, control_plane: ControlPlane, namespace: str
) -> None:
    over = threading.Event()

    def answer() -> Object:
        over.wait(30)
        return {"allowed": True}

    with Webhook(control_plane.certificates, f"slow-{uuid4().hex[:8]}", answer) as webhook:
        control_plane.apply(webhook.configuration(namespace, "configmaps", timeout_seconds=1))
        error = _refused_at_last(api, namespace, "slow")
        over.set()
    assert error.refusal is Refusal.UNAVAILABLE
    assert error.code is not None
    assert api.read(CONFIG_MAPS, namespace, "slow") is None


def _refused_at_last(api: KubernetesApi, namespace: str, name: str) -> ApiRefused:
    """The refusal, once the API server knows the rule that a test has just made."""
    refusals: list[ApiRefused] = []

    def is_refused() -> bool:
        try:
            api.create(CONFIG_MAPS, namespace, config_map(name))
        except ApiRefused as error:
            refusals.append(error)
            return True
        api.delete(CONFIG_MAPS, namespace, name)
        return False

    wait_until(is_refused, "the rule is in force", 30)
    return refusals[0]


# --- 429, 503, no answer ---


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
    assert api.read(CONFIG_MAPS, namespace, "a") is None
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


# --- who we are ---


@pytest.fixture
def account(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Path:
    """A service account's folder as the kubelet mounts it, of one who may read ConfigMaps; without a token yet."""
    make_reader(control_plane, namespace, "me")
    shutil.copy(control_plane.ca, tmp_path / "ca.crt")
    return tmp_path


def test_a_pods_token_is_read_anew_when_it_was_replaced(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": control_plane.host, "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    token = account / "token"
    token.write_text("outdated")
    api = KubernetesApi(lambda: login(environment, account))
    try:
        unknown = refused(lambda: api.read(CONFIG_MAPS, namespace, "a"))
        assert (unknown.refusal, unknown.code) == (Refusal.UNAVAILABLE, 401)
        token.write_text(control_plane.kubectl("-n", namespace, "create", "token", "me").strip())
        wait_until(lambda: _may_read(api, namespace), "the role is known")
        token.unlink()
        assert api.read(CONFIG_MAPS, namespace, "a") is None
    finally:
        api.close()


def test_a_server_with_another_authority_is_not_trusted(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    stranger = control_plane.certificates.__class__(account, "stranger")
    shutil.copy(stranger.ca, account / "ca.crt")
    (account / "token").write_text(ADMIN)
    environment = {"KUBERNETES_SERVICE_HOST": control_plane.host, "KUBERNETES_SERVICE_PORT": str(control_plane.port)}
    api = KubernetesApi(lambda: login(environment, account))
    assert refused(lambda: api.read(CONFIG_MAPS, namespace, "a")).refusal is Refusal.UNAVAILABLE
    api.close()


def test_without_account_and_kubeconfig_there_is_no_cluster(tmp_path: Path) -> None:
    for environment in (
        {},
        {"KUBECONFIG": str(tmp_path / "none")},
        {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"},
    ):
        with pytest.raises(NoCluster):
            login(environment, tmp_path)
