"""Which pod may speak to which, as the NetworkPolicies say. The test cluster's network does not enforce them, so they
are evaluated here by Kubernetes' own rules: where a policy selects a side, one of that side must allow the flow.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.integration.chart.many_values import VALUES
from tests.peers.helm import ROOT, Document, Helm

Labels = dict[str, str]


@dataclass(frozen=True)
class Pod:
    name: str
    labels: tuple[tuple[str, str], ...]
    namespace: str = "adit"
    address: str = "10.244.0.9"


@dataclass(frozen=True)
class Host:
    """Something outside the cluster."""

    address: str


def ours(component: str, namespace: str = "adit") -> Pod:
    labels = {f"app.kubernetes.io/{key}": value for key, value in _labels(component).items()}
    return Pod(component, tuple(labels.items()), namespace)


def _labels(component: str) -> Labels:
    own = {"name": f"adit-{component}", "component": component, "part-of": "adit"}
    return own | ({"managed-by": "adit-operator"} if component == "worker" else {"instance": "adit"})


STRANGER = Pod("stranger", (("app", "web"),))
FOREIGN = Pod("foreign", (("app", "web"),), "elsewhere")
PACS = Host("10.20.3.4")
INTERNET = Host("93.184.216.34")
METADATA = Host("169.254.169.254")
API_SERVER = Host("10.0.0.1")


def _selects(selector: Document | None, labels: Labels) -> bool:
    if selector is None:
        return False
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _is_peer(peer: Document, policy_namespace: str, other: Pod | Host) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)
        block = peer["ipBlock"]
        inside = [ipaddress.ip_network(each) for each in (block["cidr"], *block.get("except", ()))]
        hit = [address in network for network in inside if network.version == address.version]
        return isinstance(other, Host) and bool(hit) and hit[0] and not any(hit[1:])
    if isinstance(other, Host):
        return False
    namespace_labels = {"kubernetes.io/metadata.name": other.namespace}
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], namespace_labels):
            return False
    elif other.namespace != policy_namespace:
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], dict(other.labels))


def _side(policies: list[Document], pod: Pod | Host, other: Pod | Host, port: int, way: str, protocol: str) -> bool:
    if isinstance(pod, Host):
        return True
    chosen = [
        each
        for each in policies
        if each["metadata"]["namespace"] == pod.namespace
        and way in each["spec"]["policyTypes"]
        and _selects(each["spec"]["podSelector"], dict(pod.labels))
    ]
    if not chosen:
        return True
    rules, peers = ("egress", "to") if way == "Egress" else ("ingress", "from")
    for policy in chosen:
        for rule in policy["spec"].get(rules, ()):
            there = not rule.get(peers) or any(_is_peer(peer, pod.namespace, other) for peer in rule[peers])
            through = not rule.get("ports") or any(
                each.get("protocol", "TCP") == protocol and each.get("port", port) == port for each in rule["ports"]
            )
            if there and through:
                return True
    return False


def allowed(
    documents: list[Document], source: Pod | Host, target: Pod | Host, port: int, protocol: str = "TCP"
) -> bool:
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    return _side(policies, source, target, port, "Egress", protocol) and _side(
        policies, target, source, port, "Ingress", protocol
    )


PARTS = [
    ours(each)
    for each in (
        "operator",
        "api",
        "worker",
        "migration",
        "database-secret",
        "test",
        "postgres",
        "sandbox",
        "sandbox-setup",
        "profiles-setup",
        "receiver",
    )
]
POSTGRES, SANDBOX = ours("postgres"), ours("sandbox")
EVERYTHING: dict[str, Any] = {
    "sandbox": {"enabled": True},
    "receiver": {"enabled": True},
    "deidProfiles": {"ready": ["basic"], "keySecret": "project-key"},
}


@pytest.fixture(scope="module")
def documents(helm4: Helm) -> list[Document]:
    return helm4.render(EVERYTHING)


def who(documents: list[Document], target: Pod | Host, port: int, protocol: str = "TCP") -> set[str]:
    return {
        source.name
        for source in (*PARTS, STRANGER, FOREIGN)
        if source != target and allowed(documents, source, target, port, protocol)
    }


def test_who_reaches_the_ledger(documents: list[Document]) -> None:
    assert who(documents, POSTGRES, 5432) == {"operator", "api", "worker", "migration", "receiver"}
    assert who(documents, POSTGRES, 22) == set()


def test_who_reaches_the_api_server(documents: list[Document]) -> None:
    speaks = {"operator", "api", "database-secret", "test", "sandbox-setup", "profiles-setup", "stranger", "foreign"}
    assert who(documents, API_SERVER, 6443) - {"worker"} == speaks
    assert who(documents, API_SERVER, 22) - {"worker", "api", "sandbox-setup"} == {"stranger", "foreign"}


def test_who_reaches_a_pacs(documents: list[Document]) -> None:
    assert who(documents, PACS, 104) == {"worker", "api", "sandbox-setup", "stranger", "foreign"}
    assert who(documents, SANDBOX, 4242) == {"worker", "api", "sandbox-setup"}


def test_nobody_of_ours_reaches_the_clouds_metadata(documents: list[Document]) -> None:
    assert who(documents, METADATA, 80) == {"stranger", "foreign"}


def test_the_database_and_the_sandbox_reach_nobody(documents: list[Document]) -> None:
    for source in (POSTGRES, SANDBOX):
        targets: list[Pod | Host] = [*PARTS, STRANGER, FOREIGN, INTERNET, API_SERVER]
        for target in targets:
            if source != target:
                assert not allowed(documents, source, target, 443), target


def test_all_that_call_somebody_by_name_may_ask_for_it(documents: list[Document]) -> None:
    names = {
        "operator",
        "api",
        "worker",
        "migration",
        "database-secret",
        "test",
        "sandbox-setup",
        "profiles-setup",
        "receiver",
        "sandbox",
        "stranger",
        "foreign",
    }
    for protocol in ("UDP", "TCP"):
        assert who(documents, Pod("dns", (("k8s-app", "kube-dns"),), "kube-system"), 53, protocol) == names


def test_who_may_call_us(documents: list[Document], helm4: Helm) -> None:
    assert who(documents, ours("worker"), 8080) == set()
    assert who(documents, ours("operator"), 8080) == {"test"}
    assert {"test", "stranger", "foreign"} <= who(documents, ours("api"), 8080)
    monitored = helm4.render({"serviceMonitor": {"enabled": True}})
    assert {"foreign", "stranger"} <= who(monitored, ours("operator"), 8080)


def test_who_may_send_to_the_receiver_and_where_it_sends(documents: list[Document], helm4: Helm) -> None:
    receiver, worker = ours("receiver"), ours("worker")
    assert allowed(documents, PACS, receiver, 11112)
    assert who(documents, receiver, 11112) == {"sandbox", "sandbox-setup", "worker", "api", "stranger", "foreign"}
    assert who(documents, receiver, 8080) == {"test"}
    assert who(documents, worker, 11113) == {"receiver"}
    assert who(documents, worker, 11112) == set()
    for target in (PACS, INTERNET, API_SERVER, STRANGER, SANDBOX, ours("api"), ours("operator")):
        for port in (443, 104, 4242, 8080, 11113):
            assert not allowed(documents, receiver, target, port), (target, port)
    without = helm4.render({"sandbox": {"enabled": True}})
    assert who(without, worker, 11113) == set()
    narrow = helm4.render(VALUES["narrow network"])
    assert allowed(narrow, PACS, receiver, 11112)
    assert not allowed(narrow, INTERNET, receiver, 11112)
    assert who(narrow, receiver, 11112) == set()


@pytest.mark.parametrize(
    ("values", "namespace", "reaches"),
    [
        ({}, "adit", True),
        ({"watchNamespaces": ["team-a", "adit"]}, "team-a", True),
        ({"watchNamespaces": ["team-a"]}, "team-b", False),
        ({"rbac": {"scope": "cluster"}}, "anywhere", True),
    ],
)
def test_workers_mailboxes_are_reached_where_workers_are(
    helm4: Helm, values: dict[str, Any], namespace: str, reaches: bool
) -> None:
    documents = helm4.render({**values, "receiver": {"enabled": True}})
    assert allowed(documents, ours("receiver"), ours("worker", namespace), 11113) is reaches
    assert not allowed(documents, ours("receiver"), ours("worker", namespace), 11114)


def test_narrowed_to_what_a_hospital_has(helm4: Helm) -> None:
    narrow = helm4.render(VALUES["narrow network"])
    worker = ours("worker")
    assert allowed(narrow, worker, PACS, 104)
    assert allowed(narrow, worker, POSTGRES, 5432)
    assert not allowed(narrow, worker, PACS, 22)
    assert not allowed(narrow, worker, INTERNET, 104)
    assert not allowed(narrow, worker, API_SERVER, 6443)
    assert allowed(narrow, ours("operator"), API_SERVER, 6443)
    assert not allowed(narrow, ours("operator"), INTERNET, 6443)
    assert who(narrow, ours("api"), 8080) == {"test"}
    assert who(narrow, ours("operator"), 8080) == {"test"}


def test_a_postgres_of_ones_own_is_the_only_one(helm4: Helm) -> None:
    own = helm4.render(VALUES["existing Postgres"])
    for source in ("operator", "migration"):
        assert allowed(own, ours(source), Host("10.1.2.3"), 6432)
        assert not allowed(own, ours(source), Host("10.1.2.4"), 6432)


@pytest.mark.parametrize(
    ("values", "namespace", "reaches"),
    [
        ({"watchNamespaces": ["team-a"]}, "team-a", True),
        ({"watchNamespaces": ["team-a"]}, "team-b", False),
        ({"rbac": {"scope": "cluster"}}, "anywhere", True),
        ({}, "team-a", False),
    ],
)
def test_workers_of_the_watched_namespaces_reach_the_ledger(
    helm4: Helm, values: dict[str, Any], namespace: str, reaches: bool
) -> None:
    assert allowed(helm4.render(values), ours("worker", namespace), POSTGRES, 5432) is reaches


def production() -> dict[str, Any]:
    """The file that docs/kubernetes.md tells people to begin with."""
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml production\.yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    values: dict[str, Any] = yaml.safe_load(block)
    return values


def test_the_documented_production_file_narrows_to_the_hospitals_network(helm4: Helm) -> None:
    documents = helm4.render(production())
    speakers = (ours("worker"), ours("api"))
    for port in (104, 2762, 4242, 11112, 443):
        assert all(allowed(documents, each, PACS, port) for each in speakers), port
    assert not any(allowed(documents, each, PACS, port) for each in speakers for port in (22, 80, 8042))
    for port in (80, 104, 11112):
        assert not any(allowed(documents, each, INTERNET, port) for each in speakers), port
    for port in (80, 104, 443):
        assert not allowed(documents, ours("worker"), METADATA, port)
    assert not allowed(documents, ours("worker"), INTERNET, 443)
    assert not allowed(documents, ours("worker"), FOREIGN, 11112)


def test_a_network_beside_it_keeps_its_exceptions(helm4: Helm) -> None:
    """As the text below that file says, for a bucket outside."""
    values = production()
    outside = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}
    values["networkPolicy"]["dicom"]["to"].append(outside)
    documents = helm4.render(values)
    assert allowed(documents, ours("worker"), INTERNET, 443)
    assert not allowed(documents, ours("worker"), METADATA, 443)
    assert not allowed(documents, ours("worker"), INTERNET, 80)


def test_everything_that_a_pod_is_told_of_can_be_reached(helm4: Helm) -> None:
    """Each pod of the chart has the labels with which this page speaks of it."""
    for each in helm4.render(EVERYTHING):
        template = each["spec"].get("template", each if each["kind"] == "Pod" else None) if "spec" in each else None
        if template:
            labels = template["metadata"]["labels"]
            component = labels["app.kubernetes.io/component"]
            assert dict(ours(component).labels).items() <= labels.items(), component
            assert component in {part.name for part in PARTS}
