"""A wrong value is refused before anything is installed, and its name stands in the message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.peers.helm import CHART, ChartRefused, Helm
from tests.sample import Sample

WRONG: dict[str, dict[str, Any]] = {
    "operater": {"operater": {}},
    "operator.replicas": {"operator": {"replicas": "two"}},
    "operator.replica": {"operator": {"replica": 2}},
    "operator.image.digest": {"operator": {"image": {"digest": "latest"}}},
    "operator.image.tag": {"operator": {"image": {"tag": "not a tag"}}},
    "operator.image.repository": {"operator": {"image": {"repository": "UPPER case"}}},
    "operator.resources.limits.memory": {"operator": {"resources": {"limits": {"memory": "2gb"}}}},
    "operator.resources.limits.gpu": {"operator": {"resources": {"limits": {"gpu": 1}}}},
    "operator.resources.request": {"operator": {"resources": {"request": {}}}},
    "operator.tolerations.0.effect": {"operator": {"tolerations": [{"key": "a", "effect": "NoSchedul"}]}},
    "operator.extraEnv.0.name": {"operator": {"extraEnv": [{"value": "x"}]}},
    "operator.extraVolumeMounts.0.mountPath": {
        "operator": {"extraVolumeMounts": [{"name": "x", "mountPath": "relative"}]}
    },
    "operator.topologySpreadConstraints.0.whenUnsatisfiable": {
        "operator": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "Maybe"}]}
    },
    "operator.affinity.nodeAfinity": {"operator": {"affinity": {"nodeAfinity": {}}}},
    "operator.podLabels.team": {"operator": {"podLabels": {"team": "has spaces"}}},
    "operator.podDisruptionBudget.enabled": {"operator": {"podDisruptionBudget": {"enabled": "yes"}}},
    "api.service.type": {"api": {"service": {"type": "Ingress"}}},
    "api.service.port": {"api": {"service": {"port": 70000}}},
    "api.nodeSecrets.0": {"api": {"nodeSecrets": ["Not_A_Name"]}},
    "api.enabled": {"api": {"enabled": 1}},
    "receiver.aeTitles.0": {"receiver": {"aeTitles": ["TWO,TITLES"]}},
    "receiver.networks.0": {"receiver": {"networks": ["pacs.example.org"]}},
    "receiver.service.externalTrafficPolicy": {"receiver": {"service": {"externalTrafficPolicy": "local"}}},
    "receiver.hostPort": {"receiver": {"hostPort": "104"}},
    "receiver.tls.secretName": {"receiver": {"tls": {"secretName": "My Secret"}}},
    "receiver.drainSeconds": {"receiver": {"drainSeconds": -1}},
    "worker.maxRunning": {"worker": {"maxRunning": 0}},
    "worker.attemptSeconds": {"worker": {"attemptSeconds": 5}},
    "worker.startSeconds": {"worker": {"startSeconds": "10m"}},
    "worker.sizeClasses": {"worker": {"sizeClasses": []}},
    "worker.sizeClasses.0.upTo": {"worker": {"sizeClasses": [{"name": "a", "upTo": "1 GiB", "resources": {}}]}},
    "worker.sizeClasses.0.name": {"worker": {"sizeClasses": [{"resources": {}}]}},
    "worker.sizeClasses.0.memory": {"worker": {"sizeClasses": [{"name": "a", "resources": {}, "memory": "1Gi"}]}},
    "worker.priorityClass.value": {"worker": {"priorityClass": {"value": "high"}}},
    "worker.extraEnv": {"worker": {"extraEnv": []}},
    "database.existingSecret": {"database": {"existingSecret": "My Secret"}},
    "database.password": {"database": {"password": "psst"}},
    "postgres.persistence.size": {"postgres": {"persistence": {"size": "lots"}}},
    "postgres.persistence.accessModes.0": {"postgres": {"persistence": {"accessModes": ["ReadOnly"]}}},
    "postgres.runAsUser": {"postgres": {"runAsUser": 0}},
    "postgres.parameters.max_connections": {"postgres": {"parameters": {"max_connections": [1]}}},
    "postgres.enabled": {"postgres": {"enabled": False}},
    "rbac.scope": {"rbac": {"scope": "global"}},
    "watchNamespaces.0": {"watchNamespaces": ["*"]},
    "watchNamespaces": {"watchNamespaces": "team-a"},
    "logLevel": {"logLevel": "verbose"},
    "image.pullPolicy": {"image": {"pullPolicy": "Sometimes"}},
    "image.pullSecrets.0": {"image": {"pullSecrets": [{"name": "pull"}]}},
    "crds.keep": {"crds": {"keep": "true"}},
    "networkPolicy.dicom.ports.0": {"networkPolicy": {"dicom": {"ports": [0]}}},
    "networkPolicy.dicom.to.0.cidr": {"networkPolicy": {"dicom": {"to": [{"cidr": "10.0.0.0/8"}]}}},
    "networkPolicy.egress": {"networkPolicy": {"egress": []}},
    "serviceMonitor.interval": {"serviceMonitor": {"interval": "often"}},
    "deidProfiles.ready.0": {"deidProfiles": {"ready": ["reserch"], "keySecret": "key"}},
    "deidProfiles.keySecret": {"deidProfiles": {"keySecret": "My Secret"}},
    "deidProfiles.key": {"deidProfiles": {"key": "c2VjcmV0"}},
    "sandbox.enable": {"sandbox": {"enable": True}},
    "migration.waitSeconds": {"migration": {"waitSeconds": -1}},
    "commonLabels.team": {"commonLabels": {"team": 7}},
    "fullnameOverride": {"fullnameOverride": "Has Capitals"},
}


def message(helm: Helm, values: dict[str, Any]) -> str:
    with pytest.raises(ChartRefused) as refusal:
        helm.text(values)
    return str(refusal.value)


def test_each_wrong_value_is_named(each_helm: Helm, sample: Sample) -> None:
    told = {name: message(each_helm, values) for name, values in sample(list(WRONG.items()), 20)}
    assert {name: text for name, text in told.items() if not is_named(name, text)} == {}


def is_named(name: str, told: str) -> bool:
    """Helm 3 writes a.b.0, Helm 4 /a/b/0; both name a property that is missing or not known beside its parent."""
    parent, _, last = name.rpartition(".")
    for text in (line for line in told.splitlines() if line.lstrip().startswith("- ")):
        place = text.replace("/", ".")
        if re.search(rf"[. '-]{re.escape(name)}\b", place):
            return True
        if (not parent or re.search(rf"[. '-]{re.escape(parent)}\b", place)) and re.search(rf"\b{last}\b", place):
            return True
    return False


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"worker": {"sizeClasses": [{"name": "a", "resources": {}}, {"name": "b", "resources": {}}]}},
            "worker.sizeClasses[0] (a): all but the last class need upTo",
        ),
        (
            {
                "worker": {
                    "sizeClasses": [{"name": "a", "upTo": "1Gi", "resources": {}}, {"name": "a", "resources": {}}]
                }
            },
            "worker.sizeClasses[1]: two classes are called a",
        ),
        ({"worker": {"podLabels": {"adit.dev/job": "x"}}}, "worker.podLabels.adit.dev/job: this label is ADIT's own"),
        (
            {"sandbox": {"enabled": True}, "watchNamespaces": ["team-a"]},
            "its nodes are made in adit, which is not among watchNamespaces",
        ),
        ({"sandbox": {"enabled": True}, "api": {"enabled": False}}, "sandbox.enabled needs api.enabled"),
        ({"deidProfiles": {"ready": ["basic"]}}, "deidProfiles.ready needs deidProfiles.keySecret"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_cure(
    each_helm: Helm, values: dict[str, Any], expected: str
) -> None:
    assert expected in message(each_helm, values)


def _objects(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, each in schema.get("properties", {}).items():
        yield from _objects(each, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _objects(schema["items"], f"{path}[]")
    if schema.get("type") == "object":
        yield path, schema


KUBERNETES_WORDS = (
    ".global", "volume", "labelSelector", "valueFrom", "namespaceSelector", "podSelector", "preferredDuring",
)  # fmt: skip
"""Objects that are passed on to Kubernetes as they are."""


def test_every_object_refuses_what_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for name, definition in {"": schema, **schema["definitions"]}.items():
        for path, each in _objects(definition, name):
            if not any(word in path for word in KUBERNETES_WORDS):
                assert "additionalProperties" in each, path
                assert each["additionalProperties"] is not True, path


def test_schema_and_values_know_the_same_names() -> None:
    """So that docs/values.md, which is made from both, tells of every value."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(each: dict[str, Any], value: Any, path: str) -> None:
        each = schema["definitions"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        assert each["description"], path
        if isinstance(value, dict) and value and "properties" in each and not path.endswith(("requests", "limits")):
            assert set(value) == set(each["properties"]) - {"global"}, path
            for name, inner in value.items():
                compare(each["properties"][name], inner, f"{path}.{name}")

    compare(schema, yaml.safe_load((CHART / "values.yaml").read_text()), "")
