"""Makes the bundled Postgres' Secret, once, with random passwords. Run by the chart's Job before everything else.

The passwords are made here and nowhere else: not in values, templates or Helm's record of the release. An
existing Secret is never changed, so that it may be run at each upgrade and by two at once. Nothing that it
prints holds a password.
"""

from __future__ import annotations

import argparse
import base64
import secrets
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from kubernetes.client import CoreV1Api
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException

from adit_operator.kubernetes_login import NoCluster, login

POSTGRES: Final = "postgres-password"
OWNER: Final = "database-url"
WORKER: Final = "worker-database-url"
RECEIVER: Final = "receiver-database-url"
_OWNER_LOGIN: Final = "adit"
_WORKER_LOGIN: Final = "adit_worker_login"
_RECEIVER_LOGIN: Final = "adit_receiver_login"
_CONFLICT: Final = 409


class DatabaseSecretError(Exception):
    """It is not there and cannot be made, or is not what we need. The message holds the cure."""


def contents(host: str, password: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> dict[str, str]:
    """What the Secret holds. Passwords consist of what a URL takes as it is."""
    owner, worker, receiver = password(), password(), password()
    return {
        POSTGRES: owner,
        OWNER: f"postgresql://{_OWNER_LOGIN}:{owner}@{host}:5432/{_OWNER_LOGIN}",
        WORKER: f"postgresql://{_WORKER_LOGIN}:{worker}@{host}:5432/{_OWNER_LOGIN}",
        RECEIVER: f"postgresql://{_RECEIVER_LOGIN}:{receiver}@{host}:5432/{_OWNER_LOGIN}",
    }


def ensure(
    api: Any,
    name: str,
    namespace: str,
    wanted: Mapping[str, str],
    labels: Mapping[str, str],
    spared: Collection[str] = (),
) -> dict[str, str]:
    """The Secret's contents: those that it has, or `wanted` if it was not there. `api` is a CoreV1Api.

    One that is there may lack the `spared` keys.
    """
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "labels": dict(labels)},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in wanted.items()},
    }
    try:
        api.create_namespaced_secret(namespace, body)
    except ApiException as error:
        if error.status != _CONFLICT:
            raise DatabaseSecretError(
                f"Secret {namespace}/{name} cannot be made: {error.status} {error.reason}"
            ) from None
        print(f"Secret {namespace}/{name} is there: it stays as it is.")  # noqa: T201
        return _existing(api, name, namespace, set(wanted) - set(spared))
    print(f"Secret {namespace}/{name} made.")  # noqa: T201
    return dict(wanted)


def _existing(api: Any, name: str, namespace: str, wanted: Collection[str]) -> dict[str, str]:
    try:
        found = api.read_namespaced_secret(name, namespace).data or {}
    except ApiException as error:
        raise DatabaseSecretError(f"Secret {namespace}/{name} cannot be read: {error.status} {error.reason}") from None
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise DatabaseSecretError(
            f"Secret {namespace}/{name} lacks {', '.join(missing)}. Add the keys; or, if it is not the bundled "
            f"Postgres' Secret, delete it or name it in database.existingSecret."
        )
    return {key: base64.b64decode(found[key]).decode() for key in wanted}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make_database_secret", description=__doc__, allow_abbrev=False)
    parser.add_argument("--name", required=True, help="the Secret")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--host", required=True, help="the Service of the Postgres")
    parser.add_argument("--instance", required=True, help="the release, for the labels")
    parser.add_argument(
        "--worker-namespace", action="append", default=[], help="gets a Secret with the workers' URL only"
    )
    parser.add_argument("--receiver", action="store_true", help="the receiver's URL must be there")
    given = parser.parse_args(arguments)
    labels = {
        "app.kubernetes.io/name": "adit-database",
        "app.kubernetes.io/instance": given.instance,
        "app.kubernetes.io/part-of": "adit",
        "app.kubernetes.io/managed-by": "adit-operator",
    }
    try:
        api = CoreV1Api(ApiClient(login()))
        spared = () if given.receiver else (RECEIVER,)
        there = ensure(api, given.name, given.namespace, contents(given.host), labels, spared)
        for namespace in given.worker_namespace:
            found = ensure(api, given.name, namespace, {WORKER: there[WORKER]}, labels)
            if found[WORKER] != there[WORKER]:
                raise DatabaseSecretError(
                    f"Secret {namespace}/{given.name} has another {WORKER} than the one in {given.namespace}. "
                    f"Delete it and run this again."
                )
    except (DatabaseSecretError, NoCluster) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
