"""Whether a resource, or one of its fields, is described in git. Pure; used by both registries.

Argo CD and Flux undo what others change in fields that are in git, and leave alone those that are not. So only
the first are refused here. Field ownership (managedFields) tells them apart; where nothing tells, all are git's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adit_api.registry import MANAGER

ARGO_CD: Final = "argocd.argoproj.io/tracking-id"  # an annotation
FLUX: Final = "kustomize.toolkit.fluxcd.io/name"  # a label
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_APPLIERS: Final = ("argocd-controller", "argocd-application-controller", "kustomize-controller", "helm-controller")


def keeper(annotations: Mapping[str, str], labels: Mapping[str, str]) -> str | None:
    """Who keeps the resource as git has it; None if nobody does."""
    if ARGO_CD in annotations:
        return "Argo CD"
    return "Flux" if FLUX in labels else None


def is_in_git(field: str, metadata: Mapping[str, Any]) -> bool:
    """Whether `spec.<field>` of a kept resource is described in git, by the API server's metadata of it."""
    managed: Sequence[Mapping[str, Any]] = metadata.get("managedFields") or ()
    last_applied = (metadata.get("annotations") or {}).get(_LAST_APPLIED)
    if not managed and last_applied is None:
        return True
    return _was_applied(field, last_applied) or any(_owns(field, entry) for entry in managed)


def _was_applied(field: str, last_applied: str | None) -> bool:
    """By a client-side apply, which keeps what it sent."""
    if last_applied is None:
        return False
    try:
        return field in json.loads(last_applied)["spec"]
    except (ValueError, KeyError, TypeError):
        return True


def _owns(field: str, entry: Mapping[str, Any]) -> bool:
    if entry.get("manager") == MANAGER or entry.get("subresource"):
        return False
    if entry.get("operation") != "Apply" and entry.get("manager") not in _APPLIERS:
        return False  # a person's kubectl patch is nothing that git would undo
    spec = (entry.get("fieldsV1") or {}).get("f:spec") or {}
    return f"f:{field}" in spec
