"""Where the API server is and who we are to it: a pod's service account, or the file that KUBECONFIG names.

Read by `KubernetesApi` when it starts, and again whenever the server does not know us any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kubernetes.client.configuration import Configuration
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import load_kube_config

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONNECTIONS: Final = 20  # kept open: as many as there are launches at once


class NoCluster(Exception):  # noqa: N818
    """There is neither a service account nor a KUBECONFIG that can be read."""


def login(environment: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> Configuration:
    """A fresh configuration of the client. KUBECONFIG, if set, goes before the service account.

    The token's file is read again every minute, as the kubelet replaces it while we run.
    """
    configuration = Configuration(connection_pool_maxsize=_CONNECTIONS)
    configuration.retries = False  # urllib3 must repeat nothing behind our back
    try:
        if file := environment.get("KUBECONFIG"):
            load_kube_config(file, client_configuration=configuration, persist_config=False)
        else:
            loader = InClusterConfigLoader(
                token_filename=str(service_account / "token"),
                cert_filename=str(service_account / "ca.crt"),
                environ=environment,
            )
            loader.load_and_set(configuration)
    except (ConfigException, OSError) as error:
        raise NoCluster(f"No way to a Kubernetes API server: {error}") from error
    return configuration
