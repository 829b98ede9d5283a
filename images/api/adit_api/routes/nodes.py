"""DicomNodes: list, show, apply; probe them and ask what they hold.

Answers of `find` name patients: they go to the caller and nowhere else, and the question is a body, never a URL.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints, field_validator

from adit.cli.found import COLUMNS, as_json
from adit.dicom.dictionary import entry
from adit.dicom.node import Level, Node
from adit.dicom.node import Query as Question
from adit.dicom.opening import open_node
from adit.ledger.api_tokens import Scope
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode, DicomNodeSpec
from adit.model.outcome import TransferFault
from adit.model.resource import ObjectMeta, Strict
from adit_api import cursors
from adit_api.bodies import body_of, described
from adit_api.callers import Caller, check_namespace, needs, visible
from adit_api.job_view import FaultView, View
from adit_api.problems import ProblemError, not_found
from adit_api.registry import Key
from adit_api.routes.paths import BODY, Limit, Namespace, NodeName, OfNamespace, ResourceCursor, problems
from adit_api.services import Here, Services

router: Final = APIRouter(prefix="/v1/dicomnodes", tags=["DicomNodes"])
_log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 60.0
MAX_FOUND: Final = 1000

_Keyword = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9]+$")]
_Value = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]


class NewDicomNode(Strict):
    """A DicomNode's content, as in YAML; its name stands in the path."""

    spec: DicomNodeSpec


class NodeView(View):
    """A DicomNode."""

    namespace: str
    name: str
    spec: dict[str, Any] = Field(description="As in YAML, with defaults filled in.")

    @staticmethod
    def of(node: DicomNode) -> NodeView:
        namespace, name = node.key
        spec = node.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        return NodeView(namespace=namespace, name=name, spec=spec)


class NodeList(View):
    """A page of DicomNodes, by namespace and name."""

    items: tuple[NodeView, ...]
    next: str | None = Field(default=None, description="The next page's `cursor`.")


class ProbeView(View):
    """What a node answered when it was asked what it can do."""

    reachable: bool
    services: tuple[str, ...]
    missing: tuple[str, ...] = Field(description="Services that the DicomNode lists and the peer does not offer.")
    detail: dict[str, str]
    fault: FaultView | None = None


class Find(Strict):
    """What to look for."""

    level: Literal["patient", "study", "series", "image"] = "study"
    keys: dict[_Keyword, _Value] = Field(
        default_factory=dict,
        max_length=64,
        description="What must match, by DICOM keyword; * and ?, dates as 20240101-20241231 (PS3.4 C.2.2.2).",
    )
    returning: Annotated[tuple[_Keyword, ...], Field(max_length=64)] = Field(
        default=(), description="Keywords to return besides the level's own."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_FOUND)] = Field(default=100, description="At most so many answers.")

    @field_validator("keys", "returning")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if any(entry(keyword) is None for keyword in value):
            raise ValueError("must hold DICOM keywords only (PS3.6), such as PatientID or StudyDate")
        return value


class Found(View):
    """The answers. They name patients: keep them to yourself."""

    items: tuple[dict[str, str], ...] = Field(description="By DICOM keyword; several values with a backslash between.")
    complete: bool = Field(description="Whether these are all, as far as the node told.")
    warnings: tuple[FaultView, ...] = ()


@router.get("", summary="List DicomNodes", dependencies=[needs(Scope.READ)], responses=problems())
def list_nodes(
    here: Here,
    caller: Caller,
    namespace: OfNamespace = None,
    limit: Limit = 100,
    cursor: ResourceCursor = None,
) -> NodeList:
    """As the ledger knows them; one that was just applied in a cluster may be missing for a second."""
    after = cursors.resource_of(cursor)
    namespaces = visible(here, caller)
    if namespace is not None:
        check_namespace(here, caller, namespace)
        namespaces = frozenset({namespace})
    nodes = sorted(here.ledger.nodes(), key=lambda node: node.key)
    found = [node for node in nodes if node.key > after and (namespaces is None or node.key[0] in namespaces)]
    following = cursors.of_resource(found[limit - 1].key) if len(found) > limit else None
    return NodeList(items=tuple(NodeView.of(node) for node in found[:limit]), next=following)


@router.get(
    "/{namespace}/{name}", summary="Show a DicomNode", dependencies=[needs(Scope.READ)], responses=problems(404)
)
def show(here: Here, namespace: Namespace, name: NodeName) -> NodeView:
    return NodeView.of(_node(here, (namespace, name)))


@router.put(
    "/{namespace}/{name}",
    summary="Create or replace a DicomNode",
    dependencies=[needs(Scope.NODES)],
    responses={201: {"description": "It is new.", "model": NodeView}, **problems(*BODY, 404, 409)},
    openapi_extra=described(
        NewDicomNode,
        a_PACS={"spec": {"dimse": {"aeTitle": "PACS1", "host": "pacs.example.org", "port": 104}}},
        a_folder={"spec": {"folder": {"path": "/srv/dicom/exports"}}},
    ),
)
def apply(
    here: Here,
    namespace: Namespace,
    name: NodeName,
    response: Response,
    given: Annotated[NewDicomNode, body_of(NewDicomNode)],
) -> NodeView:
    """Running attempts keep the node that they started with."""
    node = DicomNode(metadata=ObjectMeta(name=name, namespace=namespace), spec=given.spec)
    if here.registry.apply(node):
        response.status_code = 201
    _log.info("node applied", namespace=namespace, name=name)
    return NodeView.of(node)


@router.post(
    "/{namespace}/{name}/probe",
    summary="Ask a node what it offers",
    dependencies=[needs(Scope.FIND)],
    responses=problems(404, 504),
)
def probe(here: Here, namespace: Namespace, name: NodeName) -> ProbeView:
    """By C-ECHO and by what it accepts in an association, or by small requests; a folder is looked at."""
    node = _node(here, (namespace, name))
    with here.node_call(), _answering(here, node) as opened:
        found = opened.probe()
    if found.reachable and found.fault is None and node.spec.services is not None:
        here.ledger.note_probe(node, found.services, here.clock())
    listed = (node.spec.services or ()) if found.reachable else ()
    return ProbeView(
        reachable=found.reachable,
        services=found.services,
        missing=tuple(str(service) for service in listed if str(service) not in found.services),
        detail=dict(found.detail),
        fault=None if found.fault is None else FaultView.of(found.fault),
    )


@router.post(
    "/{namespace}/{name}/find",
    summary="Ask a node what it holds",
    dependencies=[needs(Scope.FIND)],
    responses=problems(*BODY, 404, 502, 504),
    openapi_extra=described(
        Find,
        studies_of_a_patient={"level": "study", "keys": {"PatientID": "1003", "StudyDate": "20240101-"}},
        series={
            "level": "series",
            "keys": {"StudyInstanceUID": "1.2.840.113619.2.1.1"},
            "returning": ["BodyPartExamined"],
        },
    ),
)
def find(here: Here, namespace: Namespace, name: NodeName, given: Annotated[Find, body_of(Find)]) -> Found:
    """By C-FIND; of a folder or bucket, by headers. Answers go to you only: they stand in no log and no record."""
    node = _node(here, (namespace, name))
    level = Level(given.level.upper())
    shown = list(dict.fromkeys([*COLUMNS[level], *given.keys, *given.returning]))
    returning = tuple(keyword for keyword in shown if keyword not in given.keys)
    question = Question(level, _keys(given.keys), returning, given.limit)
    with here.node_call(), _answering(here, node) as opened:
        answers = list(opened.find(question))
        doubts = opened.doubts()
    items: Any = as_json(answers, shown)
    warnings = tuple(FaultView.of(fault) for fault in doubts)
    return Found(items=tuple(items), complete=len(answers) < given.limit and not doubts, warnings=warnings)


def _keys(keys: Mapping[str, str]) -> dict[str, str]:
    return dict(keys)


def _node(here: Services, key: Key) -> DicomNode:
    """From the ledger, or the registry if it was just applied."""
    node = here.ledger.node(key) or here.registry.find_node(key)
    if node is None:
        raise not_found("DicomNode in that namespace")
    return node


@contextmanager
def _answering(here: Services, node: DicomNode) -> Iterator[Node]:
    """The node, interrupted when it takes too long; what it can't do becomes a problem."""
    share = Share(associations=1, queries_per_second=node.spec.limits.queries_per_second)
    opened = open_node(node, share, secrets=here.settings.secrets)
    too_late = threading.Event()

    def interrupt() -> None:
        too_late.set()
        opened.interrupt()

    timer = threading.Timer(ANSWER_SECONDS, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield opened
    except TransferFault as error:
        if too_late.is_set():
            told = f"The node took longer than {ANSWER_SECONDS:.0f} s. Ask for less."
            raise ProblemError(504, "node-timeout", told) from None
        fault = error.fault
        raise ProblemError(502, "node", f"{fault.message} {fault.cure}".strip(), code=fault.code) from None
    finally:
        timer.cancel()
