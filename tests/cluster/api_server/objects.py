"""Objects as small as the API server takes them. Used by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

from adit_operator.kubernetes_api import (
    TRANSFER_JOBS,
    Kind,
    Object,
)

CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")


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


def names(objects: Iterator[Object]) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def uid_of(each: Object) -> str:
    return str(each["metadata"]["uid"])
