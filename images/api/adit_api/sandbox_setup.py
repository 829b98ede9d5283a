"""Makes the DicomNodes of the chart's sandbox once its PACSs are ready. Run by a Job after the installation.

Helm cannot make resources of a kind that the same release brings, so they are made here, owned by the
sandbox's ConfigMap: they go when the sandbox goes. May be repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from kubernetes.client import CoreV1Api, CustomObjectsApi
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_incluster_config

from adit.model.dicom_node import DicomNode
from adit_api.sandbox_samples import PORT, node, wait_for

_KIND: Final = {"group": "adit.dev", "version": "v1alpha1", "plural": "dicomnodes"}


def apply(api: Any, namespace: str, made: DicomNode, owner: dict[str, Any]) -> None:
    """`api` is a CustomObjectsApi."""
    body = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
    body |= {"apiVersion": "adit.dev/v1alpha1", "kind": "DicomNode"}
    body["metadata"] = {"name": made.metadata.name, "ownerReferences": [owner]}
    try:
        api.create_namespaced_custom_object(namespace=namespace, body=body, **_KIND)
    except ApiException as error:
        if error.status != 409:
            raise
        api.patch_namespaced_custom_object(namespace=namespace, name=made.metadata.name, body=body, **_KIND)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="sandbox_setup", description=__doc__, allow_abbrev=False)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--owner", required=True, help="the ConfigMap that the nodes belong to")
    parser.add_argument("--pacs", required=True, help="the host that has the samples")
    parser.add_argument("--research", required=True, help="the host that stays empty")
    given = parser.parse_args(arguments)

    source = node("sandbox-pacs", "SANDBOX", given.pacs)
    destination = node("sandbox-research", "RESEARCH", given.research)
    for host in (given.pacs, given.research):
        wait_for(host, PORT)  # a Service, which leads to pods that are ready
    load_incluster_config()
    client = ApiClient()
    owner: Any = CoreV1Api(client).read_namespaced_config_map(given.owner, given.namespace).metadata
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}
    for each in (source, destination):
        apply(CustomObjectsApi(client), given.namespace, each, reference)
        print(f"dicomnode.adit.dev/{each.metadata.name} is there.")  # noqa: T201


if __name__ == "__main__":
    main()
