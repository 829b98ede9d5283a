"""What a launch needs beside a launcher, and an API server where a right is missing. Used by the tests of launching,
taking in and ownership."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from adit_operator.kubernetes_api import TRANSFER_JOBS, KubernetesApi
from tests.peers.faulty_proxy import PASS, Reaction
from tests.unit.model.specs import JOB

FORBIDDEN = Reaction(answer=403, body=b'{"reason": "Forbidden"}')
NOT_ALLOWED = Reaction(answer=201, body=b'{"status": {"allowed": false}}')


def forbidding(what: str) -> Callable[[str, str], Reaction]:
    """As an API server does where a right is missing."""
    return lambda method, path: (
        FORBIDDEN if what in path else NOT_ALLOWED if "selfsubjectaccessreviews" in path else PASS
    )


def owner(api: KubernetesApi, namespace: str, name: str = "ct") -> dict[str, Any]:
    """Of claims: a TransferJob that is there, as the garbage collector ends what belongs to none."""
    body = {
        "apiVersion": TRANSFER_JOBS.api_version,
        "kind": TRANSFER_JOBS.name,
        "metadata": {"name": name},
        "spec": JOB,
    }
    made = api.create(TRANSFER_JOBS, namespace, body)
    return {"namespace": namespace, "job_id": UUID(made["metadata"]["uid"]), "job_name": name}
