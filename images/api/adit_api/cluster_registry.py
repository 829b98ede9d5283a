"""The registry of a cluster: custom resources by the Kubernetes API. The only module here that speaks Kubernetes.

Built on the official client's transport and login without its models: dict in, dict out. Nothing is repeated
behind the caller's back, as what was asked for may have been done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import structlog
import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import load_kube_config
from pydantic import ValidationError

from adit.ledger.resources import ResourceConflict
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.invalid_resource import what_is_wrong
from adit.model.resource import API_VERSION, GROUP, VERSION
from adit.model.transfer_job import TransferJob
from adit_api.git_keeping import is_in_git, keeper
from adit_api.registry import (
    MANAGER,
    AlreadyThere,
    FoundJob,
    KeptInGit,
    Key,
    NotThere,
    RegistryRefused,
    RegistryUnavailable,
    Steered,
)

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUTS: Final = (3.0, 15.0)  # to connect, to answer
_CHANGES: Final = 5  # how often a change is tried while others change the same resource
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_Model = TypeVar("_Model", TransferJob, DicomNode, DeidProfile)
_log = structlog.get_logger(__name__)


def login(environment: Mapping[str, str] = os.environ, service_account: Path = _SERVICE_ACCOUNT) -> Configuration:
    """KUBECONFIG, if set, goes before the service account. Raises RegistryUnavailable if there is neither."""
    configuration = Configuration(connection_pool_maxsize=40)
    configuration.retries = False
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
        raise RegistryUnavailable from error
    return configuration


class ClusterRegistry:
    """Implements the port."""

    def __init__(self, configuration: Configuration) -> None:
        self._client = ApiClient(configuration)

    def close(self) -> None:
        self._client.close()

    def create(self, job: TransferJob) -> FoundJob:
        body = _manifest(job)
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        status, answer, retry = self._ask("POST", TransferJob.plural, job.metadata.namespace, None, body, query)
        if status == 409 and answer.get("reason") == "AlreadyExists":
            raise AlreadyThere("TransferJob")
        if status >= 300:
            raise _refusal(status, answer, retry)
        return _found(answer)

    def find(self, key: Key) -> FoundJob | None:
        found = self._read(TransferJob.plural, key)
        return None if found is None else _found(found)

    def change(self, key: Key, field: Steered, value: bool | str | None) -> FoundJob:
        for _ in range(_CHANGES):
            old = self._read(TransferJob.plural, key)
            if old is None:
                raise NotThere("TransferJob")
            if old["spec"].get(field) == value:
                return _found(old)
            metadata = old["metadata"]
            kept = keeper(metadata.get("annotations") or {}, metadata.get("labels") or {})
            if kept is not None and is_in_git(field, metadata):
                raise KeptInGit(f"spec.{field} of the TransferJob", kept)
            # with the version that was looked at: nobody may have put the field into git meanwhile
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {field: value}}
            status, answer, retry = self._ask(
                "PATCH", TransferJob.plural, *key, patch, {"fieldManager": MANAGER}, _MERGE
            )
            if status == 404:
                raise NotThere("TransferJob")
            if status == 422 and field == "cancel":
                raise ResourceConflict("spec.cancel", "cancel is set once: unset, Drain, Terminate, never back")
            if status < 300:
                return _found(answer)
            if status != 409:
                raise _refusal(status, answer, retry)
        raise RegistryUnavailable(1)

    def find_node(self, key: Key) -> DicomNode | None:
        found = self._read(DicomNode.plural, key)
        return None if found is None else _understood(DicomNode, found)

    def find_profile(self, key: Key) -> DeidProfile | None:
        found = self._read(DeidProfile.plural, key)
        return None if found is None else _understood(DeidProfile, found)

    def apply(self, resource: DicomNode | DeidProfile) -> bool:
        old = self._read(resource.plural, resource.key)
        metadata = {} if old is None else old["metadata"]
        kept = keeper(metadata.get("annotations") or {}, metadata.get("labels") or {})
        if kept is not None:
            raise KeptInGit(f"The {resource.kind}", kept)
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "false"}
        manifest = _manifest(resource)
        status, answer, retry = self._ask("PATCH", resource.plural, *resource.key, manifest, query, _APPLY)
        if status == 409:
            fields = ", ".join(_fields(answer)) or "spec"
            raise ResourceConflict(fields, "somebody else applied these fields (kubectl, Helm); change them there")
        if status >= 300:
            raise _refusal(status, answer, retry)
        return old is None

    def _read(self, plural: str, key: Key) -> dict[str, Any] | None:
        status, answer, retry = self._ask("GET", plural, *key)
        if status == 404 and (answer.get("details") or {}).get("name") == key[1]:
            return None
        if status >= 300:
            raise _refusal(status, answer, retry)
        return answer

    def _ask(
        self,
        method: str,
        plural: str,
        namespace: str,
        name: str | None,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, dict[str, Any], int]:
        """Status, body, and after how many seconds to try again."""
        parts = ["/apis", GROUP, VERSION, "namespaces", quote(namespace, safe=""), plural]
        path = "/".join([*parts, quote(name, safe="")] if name is not None else parts)
        try:
            verb, url, headers, data, _ = self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._client.call_api(verb, url, headers, data, _request_timeout=_TIMEOUTS)
            text = response.read()
            answer = json.loads(text) if response.status < 300 else _status_of(text)
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            _log.warning("no answer from the API server", verb=method, kind=plural, error=type(error).__name__)
            raise RegistryUnavailable from error
        asked = response.headers.get("Retry-After", "")
        return response.status, answer, int(asked) if asked.isdigit() else 5


def _status_of(text: bytes) -> dict[str, Any]:
    """Of a refusal; what a proxy says may be anything."""
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refusal(status: int, answer: Mapping[str, Any], retry_after: int) -> Exception:
    """Bound to status and reason; the server's own words may repeat values, so they are not passed on."""
    _log.warning("refused by the API server", status=status, reason=answer.get("reason"))
    if status in (401, 408, 429) or status >= 500:
        return RegistryUnavailable(max(1, retry_after))
    if status == 404:
        return RegistryRefused(404, "The cluster has no such namespace, or lacks ADIT's custom resource definitions.")
    if status == 403:
        return RegistryRefused(403, "A quota or a policy forbids it, or the facade lacks the right (RBAC).")
    return RegistryRefused(422, "The API server does not accept it: a rule, a policy or a webhook.", _fields(answer))


def _fields(answer: Mapping[str, Any]) -> tuple[str, ...]:
    causes = (answer.get("details") or {}).get("causes") or ()
    return tuple(dict.fromkeys(str(cause["field"]).lstrip(".") for cause in causes if cause.get("field")))


def _manifest(resource: TransferJob | DicomNode | DeidProfile) -> dict[str, Any]:
    """What was asked for and no more: a default that is spelt out would be ours from then on."""
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    namespace, name = resource.key
    return {
        "apiVersion": API_VERSION,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _found(document: Mapping[str, Any]) -> FoundJob:
    created_at = datetime.fromisoformat(document["metadata"]["creationTimestamp"]).astimezone(UTC)
    job = _understood(TransferJob, {**document, "status": None})
    return FoundJob(job, created_at, document["metadata"]["uid"])


def _understood(model: type[_Model], document: Mapping[str, Any]) -> _Model:
    """Raises RegistryRefused for what the CRD lets pass and the model does not: the operator calls it Invalid."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RegistryRefused(
            422, f"The {model.__name__} in the cluster breaks a rule: {what_is_wrong(error, model)}"
        ) from None
