"""A real API server that refuses by RBAC, quota, policy or webhook: a missing right is told from a refusal to admit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest

from adit_operator.kubernetes_api import (
    JOBS,
    TRANSFER_JOBS,
    ApiRefused,
    KubernetesApi,
    Object,
    Refusal,
)
from tests.cluster.api_server.callers import POWERLESS, make_reader, may_read, refused
from tests.cluster.api_server.objects import CONFIG_MAPS, config_map, suspended_job
from tests.cluster.quota import limit
from tests.peers.control_plane import ControlPlane
from tests.peers.server_process import wait_until
from tests.peers.webhook import Webhook


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
    wait_until(lambda: may_read(api, namespace), "the role is known")
    assert refused(lambda: api.create(CONFIG_MAPS, namespace, config_map("a"))).refusal is Refusal.FORBIDDEN


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
