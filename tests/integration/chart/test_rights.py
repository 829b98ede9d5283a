"""Who may do what in the Kubernetes API, to the letter: a right that is not listed here is not given."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from tests.peers.helm import Document, Helm

Right = tuple[str, str, str]
"""Verb, resource with its group, and the name that it is bound to ("" is any)."""


def rights(group: str, resources: list[str], verbs: list[str], names: tuple[str, ...] = ("",)) -> set[Right]:
    return {
        (verb, f"{resource}.{group}" if group else resource, name)
        for verb in verbs
        for resource in resources
        for name in names
    }


KINDS = ["transferjobs", "dicomnodes", "deidprofiles"]
OPERATOR = (
    rights("adit.dev", KINDS, ["get", "list", "watch"])
    | rights("adit.dev", [f"{kind}/status" for kind in KINDS], ["patch"])
    | rights("batch", ["jobs"], ["get", "list", "watch", "create", "delete"])
    | rights("", ["pods"], ["list", "watch"])
    | rights("events.k8s.io", ["events"], ["create"])
    | rights("coordination.k8s.io", ["leases"], ["create"])
    | rights("coordination.k8s.io", ["leases"], ["get", "update"], ("adit-owner",))
)
LEADER = rights("coordination.k8s.io", ["leases"], ["create"]) | rights(
    "coordination.k8s.io", ["leases"], ["get", "update"], ("adit-operator",)
)
API = rights("adit.dev", KINDS, ["get", "create", "patch"])
DATABASE_SECRET = rights("", ["secrets"], ["create"]) | rights("", ["secrets"], ["get"], ("adit-database",))
SANDBOX = (
    rights("adit.dev", ["dicomnodes"], ["create"])
    | rights("adit.dev", ["dicomnodes"], ["patch"], ("sandbox-pacs", "sandbox-research"))
    | rights("", ["configmaps"], ["get"], ("adit-sandbox",))
)


def given(documents: list[Document]) -> dict[tuple[str, str], set[Right]]:
    """What each service account may do, by account and namespace ("*" is all of them)."""
    roles: dict[tuple[str, str, str], Document] = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in documents
    }
    found: dict[tuple[str, str], set[Right]] = defaultdict(set)
    for each in documents:
        if not each["kind"].endswith("RoleBinding"):
            continue
        namespace = each["metadata"].get("namespace", "")
        role = roles[each["roleRef"]["kind"], namespace, each["roleRef"]["name"]]
        for subject in each["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            for rule in role["rules"]:
                for group in rule["apiGroups"]:
                    found[f"{subject['namespace']}/{subject['name']}", namespace or "*"] |= rights(
                        group, rule["resources"], rule["verbs"], tuple(rule.get("resourceNames", [""]))
                    )
    return found


def test_by_default_only_in_the_own_namespace(helm4: Helm) -> None:
    assert given(helm4.render({"sandbox": {"enabled": True}})) == {
        ("adit/adit-operator", "adit"): OPERATOR | LEADER,
        ("adit/adit-api", "adit"): API,
        ("adit/adit-database-secret", "adit"): DATABASE_SECRET,
        ("adit/adit-sandbox-setup", "adit"): SANDBOX,
    }


def test_in_the_watched_namespaces(helm4: Helm) -> None:
    expected: dict[tuple[str, str], set[Right]] = {
        ("adit/adit-operator", "adit"): LEADER,
        ("adit/adit-database-secret", "adit"): DATABASE_SECRET,
    }
    for team in ("team-a", "team-b"):
        expected["adit/adit-operator", team] = OPERATOR
        expected["adit/adit-api", team] = API
        expected["adit/adit-database-secret", team] = DATABASE_SECRET
    assert given(helm4.render({"watchNamespaces": ["team-a", "team-b"]})) == expected


@pytest.mark.parametrize("scope", ["namespace", "cluster"])
def test_the_facade_may_be_kept_from_writing_nodes_and_profiles(helm4: Helm, scope: str) -> None:
    found = given(helm4.render({"api": {"writesNodes": False}, "rbac": {"scope": scope}}))
    reads = rights("adit.dev", ["dicomnodes", "deidprofiles"], ["get"])
    place = "*" if scope == "cluster" else "adit"
    assert found["adit/adit-api", place] == reads | rights("adit.dev", ["transferjobs"], ["get", "create", "patch"])


def test_who_makes_the_ready_profiles_may_make_these_and_read_no_key(helm4: Helm) -> None:
    values = {"deidProfiles": {"ready": ["basic"], "keySecret": "key"}, "watchNamespaces": ["team-a", "team-b"]}
    found = {place: held for place, held in given(helm4.render(values)).items() if "profiles" in place[0]}
    profiles = rights("adit.dev", ["deidprofiles"], ["create"]) | rights(
        "adit.dev", ["deidprofiles"], ["get", "patch"], ("basic",)
    )
    account = "adit/adit-profiles-setup"
    assert found == {(account, "team-a"): profiles, (account, "team-b"): profiles}


def test_cluster_wide_if_asked(helm4: Helm) -> None:
    assert given(helm4.render({"rbac": {"scope": "cluster"}})) == {
        ("adit/adit-operator", "*"): OPERATOR,
        ("adit/adit-operator", "adit"): LEADER,
        ("adit/adit-api", "*"): API,
        ("adit/adit-database-secret", "adit"): DATABASE_SECRET,
    }


def test_nobody_touches_secrets_of_an_existing_postgres(helm4: Helm) -> None:
    found = given(helm4.render({"database": {"existingSecret": "mine"}}))
    assert not any("secrets" in resource for held in found.values() for _, resource, _ in held)


def test_workers_may_do_nothing(helm4: Helm) -> None:
    documents = helm4.render({"watchNamespaces": ["team-a", "adit"]})
    accounts = [
        each for each in documents if each["kind"] == "ServiceAccount" and each["metadata"]["name"] == "adit-worker"
    ]
    assert {each["metadata"]["namespace"] for each in accounts} == {"adit", "team-a"}
    assert all(each["automountServiceAccountToken"] is False for each in accounts)
    assert not any("worker" in account for account, _ in given(documents))


@pytest.mark.parametrize(
    ("values", "account"),
    [
        ({}, "adit-worker"),
        ({"rbac": {"scope": "cluster"}}, "default"),  # nobody knows the namespaces in which it would be needed
        ({"worker": {"serviceAccount": {"create": False}}}, "default"),
        ({"worker": {"serviceAccount": {"name": "mine"}}}, "mine"),
    ],
)
def test_the_workers_account(helm4: Helm, values: dict[str, Any], account: str) -> None:
    [file] = [each["data"]["workers.yaml"] for each in helm4.render(values) if "workers.yaml" in each.get("data", {})]
    assert f"serviceAccountName: {account}\n" in file


def test_people_get_our_kinds_by_the_roles_that_they_have(helm4: Helm) -> None:
    roles = {
        each["metadata"]["name"]: each
        for each in helm4.render({"rbac": {"aggregate": True}})
        if each["kind"] == "ClusterRole"
    }
    view, edit = roles["adit-adit-view"], roles["adit-adit-edit"]
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"
    assert view["rules"][0]["verbs"] == ["get", "list", "watch"]
    assert set(edit["rules"][0]["verbs"]) - set(view["rules"][0]["verbs"]) == {
        "create", "update", "patch", "delete", "deletecollection",
    }  # fmt: skip
    for role in (view, edit):
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == {
            *KINDS, *(f"{kind}/status" for kind in KINDS),
        }  # fmt: skip
        assert not any("*" in each for rule in role["rules"] for each in (*rule["resources"], *rule["verbs"]))
