"""Which of the watched namespaces may be read: with a namespace its RoleBinding goes, and all in it is forbidden then.

Asked by `main` before it leads, and by the sweep and the launcher before they read lists, so that one namespace that
went away does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adit_operator.api_refusal import Refusal
from adit_operator.kubernetes_api import TRANSFER_JOBS, ApiRefused, KubernetesApi

_NOTHING: Final = "metadata.name=0"
"""The server answers whether we may list, and sends no object."""


def readable(api: KubernetesApi, namespaces: Sequence[str] | None) -> tuple[str, ...] | None:
    """Those of them that may be read now; None for all. Raises ApiRefused if none may, or if the server cannot tell."""
    if namespaces is None:
        return None
    may: list[str] = []
    refused: ApiRefused | None = None
    for namespace in namespaces:
        try:
            next(iter(api.list(TRANSFER_JOBS, namespace, fields=_NOTHING)), None)
        except ApiRefused as error:
            if error.refusal is not Refusal.FORBIDDEN:
                raise
            refused = error
        else:
            may.append(namespace)
    if refused is not None and not may:
        raise refused
    return tuple(may)
