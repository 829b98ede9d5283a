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
    "operator.extraVolumes.0.empyDir": {"operator": {"extraVolumes": [{"name": "x", "empyDir": {}}]}},
    "operator.extraVolumes.0": {"operator": {"extraVolumes": [{"name": "x"}]}},
    "operator.affinity.nodeAfinity": {"operator": {"affinity": {"nodeAfinity": {}}}},
    "operator.podLabels.team": {"operator": {"podLabels": {"team": "has spaces"}}},
    "operator.podDisruptionBudget.enabled": {"operator": {"podDisruptionBudget": {"enabled": "yes"}}},
    "api.service.type": {"api": {"service": {"type": "Ingress"}}},
    "api.service.port": {"api": {"service": {"port": 70000}}},
    "api.nodeSecrets.0": {"api": {"nodeSecrets": ["Not_A_Name"]}},
    "api.writesNodes": {"api": {"writesNodes": "never"}},
    "api.enabled": {"api": {"enabled": 1}},
    "receiver.aeTitles.0": {"receiver": {"aeTitles": ["TWO,TITLES"]}},
    "receiver.networks.0": {"receiver": {"networks": ["pacs.example.org"]}},
    "receiver.networks.1": {"receiver": {"networks": ["10.20.0.0/16", "10.256.0.0/16"]}},
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
    "postgres.persistence.storageClassName": {"postgres": {"persistence": {"storageClassName": "Bad Name"}}},
    "postgres.runAsUser": {"postgres": {"runAsUser": 0}},
    "postgres.parameters.max_connections": {"postgres": {"parameters": {"max_connections": [1]}}},
    "postgres.enabled": {"postgres": {"enabled": False}},
    "rbac.scope": {"rbac": {"scope": "global"}},
    "ownerLease.create": {"ownerLease": {"create": "no"}},
    "watchNamespaces.0": {"watchNamespaces": ["*"]},
    "watchNamespaces": {"watchNamespaces": "team-a"},
    "logLevel": {"logLevel": "verbose"},
    "image.registry": {"image": {"registry": "http://registry.example.org"}},
    "postgres.image.repository": {"postgres": {"image": {"repository": "https://registry.example.org/postgres"}}},
    "worker.extraVolumes.0.empyDir": {"worker": {"extraVolumes": [{"name": "cache", "empyDir": {}}]}},
    "image.pullPolicy": {"image": {"pullPolicy": "Sometimes"}},
    "image.pullSecrets.0": {"image": {"pullSecrets": [{"name": "pull"}]}},
    "crds.keep": {"crds": {"keep": "true"}},
    "networkPolicy.dicom.ports.0": {"networkPolicy": {"dicom": {"ports": [0]}}},
    "networkPolicy.dicom.to.0.cidr": {"networkPolicy": {"dicom": {"to": [{"cidr": "10.0.0.0/8"}]}}},
    "networkPolicy.dicom.to.0.ipBlock.cidr": {
        "networkPolicy": {"dicom": {"to": [{"ipBlock": {"cidr": "999.20.0.0/99"}}]}}
    },
    "networkPolicy.api.from.0.ipBlock.cidr": {
        "networkPolicy": {"api": {"from": [{"ipBlock": {"cidr": "fd00::1::/64"}}]}}
    },
    "networkPolicy.receiver.from.0.ipBlock.except.0": {
        "networkPolicy": {"receiver": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0"]}}]}}
    },
    "receiver.service.loadBalancerSourceRanges.0": {
        "receiver": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/33"]}}
    },
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


def classes(*each: tuple[str, str | None]) -> dict[str, Any]:
    made = [{"name": name, "resources": {}} | ({"upTo": up_to} if up_to else {}) for name, up_to in each]
    return {"worker": {"sizeClasses": made}}


def volumes(part: str, *names: str, mounted: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"extraVolumes": [{"name": name, "emptyDir": {}} for name in names]}
    made |= {"nodeSecrets": ["night-pacs"]} if part == "api" else {}
    return {part: made | ({"extraVolumeMounts": [{"name": mounted, "mountPath": "/x"}]} if mounted else {})}


OURS = {
    "operator": ("credentials", "workers", "tmp"),
    "api": ("credentials", "tmp", "node-night-pacs"),
    "receiver": ("credentials", "tmp", "tls", "inbox"),
    "migration": ("credentials", "tmp"),
    "worker": ("spool", "tmp", "credentials", "secrets"),
}
"""The volumes that each pod has by itself."""

TOGETHER: list[tuple[dict[str, Any], str]] = [
    (classes(("a", None), ("b", None)), "worker.sizeClasses[0] (a): all but the last class need upTo"),
    (classes(("a", "1Gi"), ("a", None)), "worker.sizeClasses[1]: two classes are called a"),
    (
        classes(("a", "8Gi"), ("b", "1Gi"), ("c", None)),
        "worker.sizeClasses[1] (b): upTo 1Gi is not more than a's 8Gi; order the classes",
    ),
    (classes(("a", "1Gi"), ("b", "1048576Ki"), ("c", None)), "worker.sizeClasses[1] (b): upTo 1048576Ki is not more"),
    (classes(("a", "1Gi"), ("b", "1G"), ("c", None)), "worker.sizeClasses[1] (b): upTo 1G is not more than a's 1Gi"),
    (classes(("a", "1Gi"), ("b", "2Gi")), "worker.sizeClasses[1] (b): the last class takes all studies"),
    (
        {"operator": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}}},
        "operator.resources.requests.memory: 1Gi is more than operator.resources.limits.memory (512Mi)",
    ),
    (
        {"postgres": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}},
        "postgres.resources.requests.cpu: 2 is more than postgres.resources.limits.cpu (1500m)",
    ),
    *(
        ({part: {"resources": {"requests": {"memory": "9Ti"}}}}, f"{part}.resources.requests.memory: 9Ti is more than")
        for part in ("api", "receiver", "migration", "sandbox")
    ),
    (
        {
            "worker": {
                "sizeClasses": [
                    {
                        "name": "a",
                        "resources": {
                            "requests": {"ephemeral-storage": "16Gi"},
                            "limits": {"ephemeral-storage": "8Gi"},
                        },
                    }
                ]
            }
        },
        "worker.sizeClasses[0] (a).resources.requests.ephemeral-storage: 16Gi is more than",
    ),
    *(
        (volumes(part, "mine", name), f"{part}.extraVolumes[1]: ADIT has a volume called {name} itself")
        for part, names in OURS.items()
        for name in names
    ),
    (volumes("worker", "ca", "ca"), "worker.extraVolumes[1]: two volumes are called ca"),
    *(
        (volumes(part, "ca", mounted="cb"), f"{part}.extraVolumeMounts[0]: no volume is called cb; add it to {part}.")
        for part in OURS
    ),
    *(
        (
            {part: {"podLabels": {"app.kubernetes.io/component": "x"}}},
            f"{part}.podLabels.app.kubernetes.io/component: this label is ADIT's own",
        )
        for part in ("operator", "api", "receiver", "postgres", "migration")
    ),
    ({"worker": {"podLabels": {"adit.dev/job": "x"}}}, "worker.podLabels.adit.dev/job: this label is ADIT's own"),
    (
        {"serviceMonitor": {"interval": "30s", "scrapeTimeout": "1m"}},
        "serviceMonitor.scrapeTimeout: 1m is more than serviceMonitor.interval (30s)",
    ),
    (
        {"rbac": {"scope": "cluster"}, "watchNamespaces": ["team-a"]},
        "watchNamespaces: rbac.scope: cluster serves every namespace",
    ),
    (
        {"sandbox": {"enabled": True}, "watchNamespaces": ["team-a"]},
        "its nodes are made in adit, which is not among watchNamespaces",
    ),
    ({"sandbox": {"enabled": True}, "api": {"enabled": False}}, "sandbox.enabled needs api.enabled"),
    ({"deidProfiles": {"ready": ["basic"]}}, "deidProfiles.ready needs deidProfiles.keySecret"),
]


def test_what_does_not_go_together_is_refused_with_the_cure(each_helm: Helm, sample: Sample) -> None:
    told = [(expected, message(each_helm, values)) for values, expected in sample(TOGETHER, 20)]
    assert [each for each in told if each[0] not in each[1]] == []


def test_what_is_near_the_bounds_is_taken(helm4: Helm) -> None:
    """Fractions, other units and both families of addresses are compared by what they are."""
    values: dict[str, Any] = {
        "operator": {
            "resources": {"requests": {"cpu": 0.5, "memory": "1G"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
        },
        "api": {"resources": {"requests": {"memory": 134217728}, "limits": {"memory": "128Mi"}}},
        **classes(("a", "999M"), ("b", "1Gi"), ("c", None)),
        "serviceMonitor": {"enabled": True, "interval": "1m", "scrapeTimeout": "60s"},
        "image": {"registry": "127.0.0.1:5000/imaging/adit"},
        "postgres": {"persistence": {"storageClassName": "fast.ssd"}},
        "networkPolicy": {
            "dicom": {
                "to": [
                    {"ipBlock": {"cidr": each}}
                    for each in ("10.20.0.0/16", "0.0.0.0/0", "::/0", "fe80::/10", "2001:db8:0:1::/64", "::1/128")
                ]
            }
        },
    }
    values["worker"]["extraVolumes"] = [{"name": "ca", "projected": {"sources": []}}]
    assert helm4.render(values)


def test_the_volumes_called_ours_are_those_that_the_pods_have(helm4: Helm) -> None:
    values: dict[str, Any] = {
        "api": {"nodeSecrets": ["night-pacs"]},
        "receiver": {"enabled": True, "tls": {"secretName": "tls"}, "inbox": {"existingClaim": "inbox"}},
    }
    found: dict[str, set[str]] = {}
    for each in helm4.render(values):
        if each["kind"] in ("Deployment", "Job"):
            spec = each["spec"]["template"]["spec"]
            part = each["metadata"]["labels"]["app.kubernetes.io/component"]
            found[part] = {volume["name"] for volume in spec.get("volumes", ())}
    parts = [part for part in OURS if part != "worker"]
    assert {part: found[part] for part in parts} == {part: set(OURS[part]) for part in parts}


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
