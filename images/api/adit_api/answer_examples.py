"""An example of each answer in the OpenAPI document, made of the same models as the answers. Read by `adit_api.app`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import JobState, TaskState
from adit.model.status import InstanceCounts, TaskCounts
from adit.model.transfer_job import Cancel, Priority, ProfileReference
from adit_api.job_view import FailureView, FaultView, JobList, JobView, SelectionSource
from adit_api.routes.health import Health
from adit_api.routes.manifests import COLUMNS
from adit_api.routes.nodes import Found, NodeList, NodeView, ProbeView
from adit_api.routes.profiles import ProfileList, ProfileView
from adit_api.routes.selections import SelectionView
from adit_api.task_view import AttemptList, AttemptView, LogLine, TaskList, TaskView

_AT: Final = datetime(2026, 11, 24, 10, tzinfo=UTC)
_JOB_UID: Final = "0d9f0b6e-3c1c-4f0e-9a57-2f0c5f4f7a11"
_STUDY: Final = "1.2.840.113619.2.1.1"
_SHA256: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_RESOURCE: Final = {"apiVersion": "adit.dev/v1alpha1", "metadata": {"name": "research", "namespace": "default"}}


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The document, each successful answer with an example. Raises KeyError for one that has none here."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    for content in answer.get("content", {}).values():
                        content["example"] = _example(f"{method.upper()} {path}", content["schema"])
    return document


def _example(operation: str, schema: dict[str, Any]) -> Any:
    if operation in _OF_OPERATIONS:
        return _OF_OPERATIONS[operation]
    return _OF_MODELS[schema["$ref"].rpartition("/")[2]]


def _told(view: BaseModel, **changes: Any) -> Any:
    return view.model_copy(update=changes).model_dump(mode="json", by_alias=True)


_LACKING: Final = FaultView.of(
    Fault(
        code=FaultCode.INCOMPLETE,
        message="The node spoke of 100 instances, 99 came",
        cure="What is missing is asked for again.",
        node="radiology-pacs",
    )
)
_RUNNING: Final = JobView(
    namespace="default",
    name="stroke-ct",
    uid=_JOB_UID,
    owner="default",
    source="radiology-pacs",
    destination="research",
    priority=Priority.NORMAL,
    parallelism=10,
    suspend=False,
    selection=SelectionSource(kind="list", name="stroke-2026"),
    deidentification=ProfileReference(profile="research"),
    state=JobState.IN_PROGRESS,
    message="Tasks are being worked on.",
    tasks=TaskCounts(total=3, active=1, succeeded=1, failed=1),
    instances=InstanceCounts(expected=300, received=220, stored=218, verified=199, bytes=114_294_784),
    created_at=_AT,
    started_at=_AT + timedelta(seconds=2),
    failures=(FailureView(code=_LACKING.code, count=1, example=_LACKING.message),),
)
_WAITING: Final[dict[str, Any]] = {
    "state": JobState.PENDING,
    "message": "Waiting to start.",
    "tasks": TaskCounts(),
    "instances": InstanceCounts(),
    "started_at": None,
    "failures": (),
}
_TASK: Final = TaskView(
    id=4711,
    study_instance_uid=_STUDY,
    state=TaskState.SUCCESS,
    attempts=2,
    message="All 100 instances have arrived.",
    expected=100,
    received=100,
    stored=100,
    verified=100,
    left_out=0,
    bytes_stored=52_428_800,
    digest=_SHA256,
    started_at=_AT + timedelta(seconds=2),
    ended_at=_AT + timedelta(seconds=45),
)
_ATTEMPT: Final = AttemptView(
    number=1,
    outcome=Outcome.PARTIAL,
    road="C-GET",
    store_road="C-STORE",
    worker="adit-4711-1-x7k2p/1/8154",
    claimed_at=_AT + timedelta(seconds=1),
    begun_at=_AT + timedelta(seconds=2),
    heartbeat_at=_AT + timedelta(seconds=12),
    ended_at=_AT + timedelta(seconds=14),
    expected=100,
    received=99,
    stored=99,
    verified=99,
    bytes_received=51_904_512,
    bytes_stored=51_904_512,
    faults=(_LACKING,),
    log=(
        LogLine(at=_AT + timedelta(seconds=14), level="warning", code=FaultCode.INCOMPLETE, message=_LACKING.message),
    ),
)
_SELECTION: Final = SelectionView(
    id="8c5f5f0e-7d43-4a39-bd47-5f5a1f0f4b32",
    namespace="default",
    name="stroke-2026",
    size=3,
    pseudonyms=3,
    without_patient_id=0,
    created_at=_AT,
    expires_at=_AT + timedelta(days=7),
)
_NODE: Final = NodeView.of(
    DicomNode.model_validate(
        {
            **_RESOURCE,
            "kind": "DicomNode",
            "spec": {"dimse": {"aeTitle": "RESEARCH", "host": "research.example.org", "port": 104}},
        }
    )
)
_PROFILE: Final = ProfileView.of(
    DeidProfile.model_validate(
        {**_RESOURCE, "kind": "DeidProfile", "spec": {"project": "stroke", "key": {"secretName": "stroke-key"}}}
    )
)
_PROBE: Final = ProbeView(
    reachable=True,
    services=("Verification", "StudyRootFind", "Storage"),
    missing=("StudyRootGet",),
    detail={"implementation": "OFFIS_DCMTK_367"},
)
_FOUND: Final = Found(
    items=(
        {
            "StudyInstanceUID": _STUDY,
            "PatientID": "1003",
            "PatientName": "Doe^Jane",
            "StudyDate": "20240131",
            "ModalitiesInStudy": "CT",
            "StudyDescription": "CT head",
            "NumberOfStudyRelatedInstances": "100",
        },
    ),
    complete=True,
)

_ANSWERS: Final[tuple[BaseModel, ...]] = (
    _RUNNING,
    JobList(items=(_RUNNING.model_copy(update={"failures": ()}),)),
    _TASK,
    TaskList(items=(_TASK,)),
    AttemptList(items=(_ATTEMPT,)),
    _SELECTION,
    _NODE,
    NodeList(items=(_NODE,)),
    _PROFILE,
    ProfileList(items=(_PROFILE,)),
    _PROBE,
    _FOUND,
    Health(),
)
_OF_MODELS: Final = {type(each).__name__: _told(each) for each in _ANSWERS}

_COUNTS: Final = {
    "expected": 1, "received": 1, "stored": 1, "verified": 1, "bytesStored": 524_288, "leftOut": 0,
}  # fmt: skip
_INSTANCE: Final[dict[str, Any]] = {
    "sopInstanceUID": "1.2.840.113619.2.1.1.1.1",
    "seriesInstanceUID": "1.2.840.113619.2.1.1.1",
    "sopClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "state": "Verified",
    "transferSyntaxUID": "1.2.840.10008.1.2.1",
    "size": 524_288,
    "sha256": _SHA256,
    "faultCode": None,
    "faultMessage": None,
    "dimseStatus": 0,
    "sentAs": None,
}
_MANIFEST_TASK: Final[dict[str, Any]] = {
    "id": 4711,
    "studyInstanceUID": _STUDY,
    "seriesInstanceUIDs": None,
    "state": "Success",
    "message": "The only instance has arrived.",
    "fault": None,
    **_COUNTS,
    "digest": _SHA256,
    "startedAt": "2026-11-24T10:00:02+00:00",
    "endedAt": "2026-11-24T10:00:04+00:00",
    "attempts": [
        {
            "number": 1,
            "outcome": "Success",
            "road": "C-GET",
            "storeRoad": "C-STORE",
            "claimedAt": "2026-11-24T10:00:01+00:00",
            "begunAt": "2026-11-24T10:00:02+00:00",
            "endedAt": "2026-11-24T10:00:04+00:00",
            "worker": "adit-4711-1-x7k2p/1/8154",
            "faults": [],
            "warnings": [],
        }
    ],
    "instances": [_INSTANCE],
}
_OF_OPERATIONS: Final[dict[str, Any]] = {
    "POST /v1/transferjobs": _told(_RUNNING, **_WAITING),
    "POST /v1/transferjobs/{namespace}/{name}/retry-failed": _told(
        _RUNNING, **_WAITING, name="stroke-ct-again", selection=SelectionSource(kind="failedOf", name="stroke-ct")
    ),
    "POST /v1/transferjobs/{namespace}/{name}/cancel": _told(
        _RUNNING, cancel=Cancel.TERMINATE, state=JobState.CANCELING, message="The job is being cancelled."
    ),
    "POST /v1/transferjobs/{namespace}/{name}/suspend": _told(_RUNNING, suspend=True),
    "GET /v1/transferjobs/{namespace}/{name}/progress": (
        f"id: 1\r\nevent: progress\r\ndata: {_RUNNING.model_dump_json(exclude_none=True)}\r\nretry: 2000\r\n\r\n"
    ),
    "GET /v1/transferjobs/{namespace}/{name}/manifest": {
        "version": 1,
        "job": {
            "id": _JOB_UID,
            "namespace": "default",
            "name": "stroke-ct",
            "owner": "default",
            "source": "radiology-pacs",
            "destination": "research",
            "trial": None,
            "createdAt": "2026-11-24T10:00:00+00:00",
            "startedAt": "2026-11-24T10:00:02+00:00",
            "endedAt": "2026-11-24T10:00:04+00:00",
            "state": "Success",
            "message": "All tasks succeeded.",
            "refusal": None,
            "tasks": {"Success": 1},
            **_COUNTS,
            "deidentification": None,
            "instancesDroppedAt": None,
        },
        "tasks": [_MANIFEST_TASK],
    },
    "GET /v1/transferjobs/{namespace}/{name}/manifest.csv": (
        f"{','.join(COLUMNS)}\r\n"
        f"{_STUDY},Success,1,1,{_SHA256},1.2.840.113619.2.1.1.1,1.2.840.113619.2.1.1.1.1,,"
        f"1.2.840.10008.5.1.4.1.1.2,Verified,1.2.840.10008.1.2.1,524288,{_SHA256},,\r\n"
    ),
    "GET /v1/transferjobs/{namespace}/{name}/deidentification": {
        "profiles": [
            {
                "profile": "research",
                "generation": 1,
                "project": "stroke",
                "edition": "2026d",
                "keyId": "5f1d7a0c93be",
                "treated": 99,
                "leftOut": 1,
                "quarantined": 0,
                "elementsChanged": 4158,
                "actions": {"pseudonym": 198, "remove": 3564, "uid": 396},
            }
        ],
        "leftOut": [{"instances": 1, "reason": "modality PR"}],
        "quarantined": [],
    },
    "GET /metrics": 'adit_api_requests_total{method="GET",route="/v1/transferjobs",status="200"} 17.0\n',
}
