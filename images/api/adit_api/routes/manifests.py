"""The proof of a job, as JSON and as CSV, streamed task by task, and what was done to its instances. It names nobody.

If the ledger goes away meanwhile the answer is cut off, which its end shows: a half proof cannot pass for a whole one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from adit.ledger.api_tokens import Scope
from adit_api.callers import needs
from adit_api.routes.paths import Known, problems
from adit_api.services import Here

router: Final = APIRouter(prefix="/v1/transferjobs/{namespace}/{name}", tags=["Manifests"])

_TASK: Final = ("studyInstanceUID", "state", "expected", "verified", "digest")
_INSTANCE: Final = (
    "seriesInstanceUID",
    "sopInstanceUID",
    "sentAs",
    "sopClassUID",
    "state",
    "transferSyntaxUID",
    "size",
    "sha256",
    "faultCode",
    "faultMessage",
)
COLUMNS: Final = (
    "studyInstanceUID",
    "taskState",
    "taskExpected",
    "taskVerified",
    "taskDigest",
    *("instanceState" if name == "state" else name for name in _INSTANCE),
)
_PIECE: Final = 64 * 1024
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@router.get(
    "/manifest",
    summary="The proof of a job as JSON",
    dependencies=[needs(Scope.READ)],
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "As `adit manifest`."},
        **problems(404, 409),
    },
    response_class=StreamingResponse,
)
def manifest(here: Here, record: Known) -> StreamingResponse:
    """Each task, attempt and instance, with sizes and SHA-256: what `adit manifest` prints."""
    head, tasks = here.ledger.manifest_parts(record.id)
    return StreamingResponse(_pieces(_json(head, tasks)), media_type="application/json")


@router.get(
    "/manifest.csv",
    summary="The proof of a job as CSV",
    dependencies=[needs(Scope.READ)],
    responses={
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}}},
            "description": "A row an instance; a task without instances has a row of its own.",
        },
        **problems(404, 409),
    },
    response_class=StreamingResponse,
)
def manifest_csv(here: Here, record: Known) -> StreamingResponse:
    """A row for each instance (RFC 4180, UTF-8)."""
    _, tasks = here.ledger.manifest_parts(record.id)
    name = f"{record.job.metadata.name}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_pieces(_csv(tasks)), media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "/deidentification",
    summary="What was done to a job's instances",
    dependencies=[needs(Scope.READ)],
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "As `adit deid report`."},
        **problems(404, 409),
    },
)
def deidentification(here: Here, record: Known) -> dict[str, Any]:
    """By which profile, how often each action was done, and what was left out or refused and why."""
    return here.ledger.deidentification(record.id)


def _json(head: dict[str, object], tasks: Iterator[dict[str, object]]) -> Iterator[str]:
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "tasks": ['
    for number, task in enumerate(tasks):
        yield (", " if number else "") + json.dumps(task, ensure_ascii=False)
    yield "]}\n"


def _csv(tasks: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield _row(COLUMNS)
    for task in tasks:
        about = [task[name] for name in _TASK]
        rows = [[instance[name] for name in _INSTANCE] for instance in task["instances"]] or [[None] * len(_INSTANCE)]
        yield "".join(_row([*about, *row]) for row in rows)


def _pieces(parts: Iterator[str]) -> Iterator[str]:
    """Each piece is handed from a thread to the event loop, which costs more than a small task."""
    waiting: list[str] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= _PIECE:
            yield "".join(waiting)
            waiting, size = [], 0
    yield "".join(waiting)


def _row(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(["" if value is None else _plain(str(value)) for value in values])
    return line.getvalue()


def _plain(text: str) -> str:
    """No spreadsheet takes it for a formula: a peer's words may stand in a fault's message."""
    return f"'{text}" if text.startswith(_FORMULA) else text
