"""Values that people could give, each touching other branches of the templates. Used by the chart's tests."""

from __future__ import annotations

from typing import Any, Final

_PLACE: Final[dict[str, Any]] = {
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "dicom", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        }
    },
    "podLabels": {"team": "imaging"},
    "podAnnotations": {"example.org/note": "a: b"},
    "priorityClassName": "high",
}
_SPREAD: Final[dict[str, Any]] = {
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ]
}
_EXTRA_VOLUMES: Final[dict[str, Any]] = {
    "extraVolumes": [{"name": "ca", "configMap": {"name": "postgres-ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/adit/ca", "readOnly": True}],
}
_EXTRA: Final[dict[str, Any]] = {
    "extraEnv": [{"name": "PGSSLROOTCERT", "value": "/etc/adit/ca/ca.crt"}],
    **_EXTRA_VOLUMES,
}

VALUES: Final[dict[str, dict[str, Any]]] = {
    "defaults": {},
    "sandbox": {"sandbox": {"enabled": True}},
    "receiver": {"receiver": {"enabled": True}},
    "ready profiles": {
        "deidProfiles": {"ready": ["research", "basic"], "keySecret": "stroke-key"},
        "watchNamespaces": ["team-a", "team-b"],
    },
    "existing Postgres": {
        "database": {"existingSecret": "my-postgres"},
        "networkPolicy": {"postgres": {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [6432]}},
        "receiver": {"enabled": True, "serviceAccount": {"create": False, "name": "mine"}},
    },
    "several namespaces": {
        "watchNamespaces": ["team-b", "team-a"],
        "rbac": {"aggregate": True},
        "receiver": {"enabled": True},
    },
    "cluster-wide": {"rbac": {"scope": "cluster", "aggregate": True}, "sandbox": {"enabled": True}},
    "everything on": {
        "fullnameOverride": "imaging",
        "commonLabels": {"owner": "radiology"},
        "logLevel": "debug",
        "image": {"registry": "registry.example.org/adit", "tag": "1.2.3", "pullSecrets": ["pull"]},
        "operator": {"replicas": 2, **_PLACE, **_SPREAD, **_EXTRA},
        "api": {
            "replicas": 3,
            "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a.example.org/b": "c"}},
            "serviceAccount": {"annotations": {"a.example.org/b": "c"}},
            "nodeSecrets": ["night-pacs-tls", "vna-tls"],
            **_PLACE,
            **_SPREAD,
            **_EXTRA,
        },
        "receiver": {
            "enabled": True,
            "replicas": 3,
            "aeTitles": ["ADIT", "ADIT NIGHT"],
            "callers": ["PACS1"],
            "networks": ["10.20.0.0/16"],
            "service": {
                "type": "LoadBalancer",
                "port": 104,
                "nodePort": 31104,
                "loadBalancerClass": "example.org/l4",
                "loadBalancerSourceRanges": ["10.20.0.0/16"],
                "annotations": {"a.example.org/b": "c"},
            },
            "tls": {"secretName": "receiver-tls", "clientCertificates": True},
            "inbox": {"existingClaim": "inbox"},
            "serviceAccount": {"annotations": {"a.example.org/b": "c"}},
            **_PLACE,
            **_SPREAD,
            **_EXTRA,
        },
        "worker": {"priorityClass": {"create": True}, **_PLACE, "priorityClassName": "", **_SPREAD, **_EXTRA_VOLUMES},
        "postgres": {
            "parameters": {"shared_buffers": "512MB", "max_connections": 300, "log_connections": True},
            **_PLACE,
        },
        "migration": {**_PLACE, **_EXTRA},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "deidProfiles": {"ready": ["upstream"], "keySecret": "stroke-key"},
        "sandbox": {"enabled": True},
    },
    "everything off": {
        "api": {"enabled": False},
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "operator": {"serviceAccount": {"create": False, "name": "mine"}, "podDisruptionBudget": {"enabled": False}},
        "worker": {"serviceAccount": {"create": False}},
        "postgres": {"persistence": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
        "networkPolicy": {"enabled": False},
        "tests": {"enabled": False},
    },
    "by digest": {
        "operator": {"image": {"digest": "sha256:" + "a" * 64}},
        "api": {"image": {"repository": "quay.io/other/api", "tag": "v1_2.3"}},
        "postgres": {"image": {"digest": "sha256:" + "b" * 64}},
        "crds": {"keep": False},
    },
    "narrow network": {
        "serviceMonitor": {"enabled": True},
        "receiver": {"enabled": True, "service": {"type": "NodePort"}},
        "networkPolicy": {
            "receiver": {"from": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]},
            "dns": {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]},
            "kubernetesApi": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [6443]},
            "dicom": {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [104, 11112]},
            "api": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
            "metrics": {"from": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
        },
    },
}
