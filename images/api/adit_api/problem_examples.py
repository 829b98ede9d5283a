"""An example of each problem in the OpenAPI document, one that the operation may answer. Read by `adit_api.app`."""

from __future__ import annotations

from typing import Any, Final

from adit.ledger.api_tokens import Scope
from adit.ledger.resources import ResourceConflict
from adit.model.outcome import FaultCode
from adit_api.problems import ProblemError, Violation, not_found, problem_of
from adit_api.registry import AlreadyThere, KeptInGit, RegistryRefused, RegistryUnavailable
from adit_api.services import STREAMS

_REQUEST: Final = "0f5c1c3e7f0b4a6f9d3b6a3f0f3c2b1a"
_FLUX: Final = "Flux's kustomization/transfers"

_OF_STATUS: Final = {
    400: ProblemError(400, "malformed", "The body must be one JSON document in UTF-8."),
    401: ProblemError(401, "unauthenticated", "It is unknown, expired or revoked."),
    408: ProblemError(408, "timeout", "It must be there within 60 s."),
    409: ProblemError(409, "not-yet", "The job was just created, and has no tasks yet. Try again in a second."),
    413: ProblemError(413, "too-large", "At most 1 MiB."),
    415: ProblemError(415, "unsupported-media-type", "Send Content-Type: application/json."),
    422: ProblemError(
        422,
        "invalid",
        "The request breaks the rules in `errors`.",
        errors=[Violation(field="path.namespace", rule="must be at most 63 characters long")],
    ),
    429: ProblemError(429, "too-many-requests", "At most 600 in 60 s. Wait for 12 s."),
    500: problem_of(Exception()),
    502: ProblemError(
        502,
        "node",
        "Nothing answers at research.example.org:104 (Connection refused). Check the node's host and port, that the "
        "peer runs, and that no firewall stands between.",
        code=FaultCode.NODE_UNREACHABLE,
    ),
    503: problem_of(RegistryUnavailable()),
    504: ProblemError(504, "node-timeout", "The node took longer than 60 s. Ask for less."),
}
_LEDGER_AWAY: Final = ProblemError(503, "unavailable", "The ledger cannot be reached.")
_NODES_BUSY: Final = ProblemError(503, "busy", "8 questions to nodes are being asked already. Try again soon.")
_STREAMS_BUSY: Final = ProblemError(503, "busy", f"{STREAMS} streams are open already. Try again soon.")
_NO_NAMESPACE: Final = problem_of(RegistryRefused(404, "The cluster has no such namespace."))
_FROZEN: Final = ProblemError(
    409, "finished", "A finished job is frozen. What failed can be tried again: retry-failed."
)
_OF_LISTS: Final = ProblemError(
    422,
    "invalid",
    "The request breaks the rules in `errors`.",
    errors=[Violation(field="query.limit", rule="must be at most 500")],
)
_JOBS, _JOB = "/v1/transferjobs", "/v1/transferjobs/{namespace}/{name}"
_OF_OPERATIONS: Final[dict[str, dict[int, ProblemError]]] = {
    f"POST {_JOBS}": {
        404: _NO_NAMESPACE,
        409: problem_of(AlreadyThere("TransferJob")),
        422: ProblemError(
            422,
            "refused",
            "spec.source.node: there is no DicomNode radiologie in namespace default. Apply the DicomNode, or correct "
            "the name.",
            code=FaultCode.NODE_NOT_FOUND,
        ),
    },
    f"GET {_JOBS}": {422: _OF_LISTS},
    f"POST {_JOB}/cancel": {
        409: problem_of(ResourceConflict("spec.cancel", "cancel is set once: unset, Drain, Terminate, never back")),
    },
    f"POST {_JOB}/suspend": {409: _FROZEN},
    f"POST {_JOB}/resume": {409: problem_of(KeptInGit("spec.suspend of the TransferJob", _FLUX))},
    f"POST {_JOB}/retry-failed": {
        409: ProblemError(409, "not-finished", "Wait until the job has finished, or cancel it."),
    },
    f"GET {_JOB}/progress": {503: _STREAMS_BUSY},
    f"GET {_JOB}/tasks": {422: _OF_LISTS},
    "POST /v1/selections": {
        409: problem_of(ResourceConflict("name", "a selection of that name holds other studies; it cannot be changed")),
        413: ProblemError(413, "too-large", "At most 32 MiB."),
    },
    "GET /v1/dicomnodes": {422: _OF_LISTS},
    "PUT /v1/dicomnodes/{namespace}/{name}": {
        404: _NO_NAMESPACE,
        409: problem_of(KeptInGit("The DicomNode", _FLUX)),
    },
    "POST /v1/dicomnodes/{namespace}/{name}/probe": {503: _NODES_BUSY},
    "POST /v1/dicomnodes/{namespace}/{name}/find": {503: _NODES_BUSY},
    "GET /v1/deidprofiles": {422: _OF_LISTS},
    "PUT /v1/deidprofiles/{namespace}/{name}": {
        404: _NO_NAMESPACE,
        409: problem_of(KeptInGit("The DeidProfile", _FLUX)),
    },
    "GET /readyz": {
        503: ProblemError(503, "unavailable", "The ledger lacks migrations of this version. Run `adit migrate`.")
    },
}
_BROKEN_FIELDS: Final = {
    f"POST {_JOB}/cancel": Violation(field="mode", rule="must be Terminate or Drain"),
    f"POST {_JOB}/retry-failed": Violation(field="name", rule="is required"),
    "POST /v1/selections": Violation(
        field="studies[3].studyInstanceUID",
        rule="must be a DICOM UID: numbers joined by dots, none with a leading zero (PS3.5 section 9.1)",
    ),
    "PUT /v1/dicomnodes/{namespace}/{name}": Violation(field="spec.dimse.port", rule="must be a whole number"),
    "PUT /v1/deidprofiles/{namespace}/{name}": Violation(field="spec.key.secretName", rule="is required"),
    "POST /v1/dicomnodes/{namespace}/{name}/find": Violation(field="limit", rule="must be at least 1"),
}
"""Of bodies: which field breaks which rule."""


def with_problem_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The document, each problem with an example."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    example = _problem(method.upper(), path, int(status)).problem(_REQUEST)
                    for content in answer["content"].values():
                        content["example"] = example.model_dump(mode="json", exclude_none=True)
    return document


def _problem(method: str, path: str, status: int) -> ProblemError:
    operation = f"{method} {path}"
    own = _OF_OPERATIONS.get(operation, {}).get(status)
    if own is not None:
        return own
    broken = _BROKEN_FIELDS.get(operation)
    if status == 422 and broken is not None:
        return ProblemError(422, "invalid", "The body breaks the rules in `errors`.", errors=[broken])
    if status == 403:
        return ProblemError(403, "forbidden", f"The token lacks the scope {_scope(method, path)}.")
    if status == 404:
        return not_found(_what(path))
    if status == 503 and method == "GET":
        return _LEDGER_AWAY
    return _OF_STATUS[status]


def _scope(method: str, path: str) -> Scope:
    if path.endswith(("/find", "/probe")):
        return Scope.FIND
    return {"GET": Scope.READ, "PUT": Scope.NODES}.get(method, Scope.WRITE)


def _what(path: str) -> str:
    """What is not there, in the routes' words."""
    if "{taskId}" in path:
        return "task in that job"
    if path.startswith("/v1/selections"):
        return "selection in that namespace; unused ones expire"
    kinds = {"transferjobs": "TransferJob", "dicomnodes": "DicomNode", "deidprofiles": "DeidProfile"}
    return f"{kinds[path.split('/')[2]]} in that namespace"
