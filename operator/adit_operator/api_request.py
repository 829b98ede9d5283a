"""What is asked of the API server: resources as URLs name them, and requests in RBAC's verbs. Pure.

Made by `KubernetesApi`; the kinds are named by whoever asks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

Object = dict[str, Any]
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METHODS: Final = {
    "create": "POST",
    "get": "GET",
    "list": "GET",
    "delete": "DELETE",
    "update": "PUT",
    "patch": "PATCH",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource as URLs name it; `name` is its `kind`, as bodies name it."""

    group: str  # "" is the core group
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


TRANSFER_JOBS: Final = Kind("adit.dev", "v1alpha1", "transferjobs", "TransferJob")
DICOM_NODES: Final = Kind("adit.dev", "v1alpha1", "dicomnodes", "DicomNode")
DEID_PROFILES: Final = Kind("adit.dev", "v1alpha1", "deidprofiles", "DeidProfile")
OURS: Final = (TRANSFER_JOBS, DICOM_NODES, DEID_PROFILES)
JOBS: Final = Kind("batch", "v1", "jobs", "Job")
PODS: Final = Kind("", "v1", "pods", "Pod")
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Kind("events.k8s.io", "v1", "events", "Event")
ACCESS_REVIEWS: Final = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in RBAC's verbs as much as in HTTP's."""

    verb: str
    kind: Kind
    namespace: str | None
    name: str | None = None
    subresource: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: Object | None = None
    accept: str = "application/json"

    @property
    def method(self) -> str:
        return _METHODS[self.verb]

    @property
    def path(self) -> str:
        root = f"/apis/{self.kind.group}" if self.kind.group else "/api"
        parts = [self.kind.version]
        if self.namespace is not None:
            parts += ["namespaces", self.namespace]
        parts.append(self.kind.plural)
        parts += [part for part in (self.name, self.subresource) if part is not None]
        return "/".join([root, *(quote(part, safe="") for part in parts)])

    @property
    def noun(self) -> str:
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def content_type(self) -> str:
        return "application/apply-patch+yaml" if self.verb == "patch" else "application/json"
