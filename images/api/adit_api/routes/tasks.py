"""A job's tasks, and the attempts at each with their logs."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from adit.ledger.api_tokens import Scope
from adit.ledger.records import TaskRecord
from adit.model.state import TaskState
from adit_api import cursors
from adit_api.callers import needs
from adit_api.problems import not_found
from adit_api.routes.paths import (
    JobName,
    Known,
    Limit,
    Namespace,
    TaskCursor,
    Uid,
    find_record,
    find_resource,
    problems,
)
from adit_api.services import Here, Services
from adit_api.task_view import AttemptList, TaskList, TaskView, attempt_list

router: Final = APIRouter(prefix="/v1/transferjobs/{namespace}/{name}/tasks", tags=["Tasks"])

TaskId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The task's id.", alias="taskId", examples=[4711])]


@router.get("", summary="List a job's tasks", dependencies=[needs(Scope.READ)], responses=problems(404))
def list_tasks(
    here: Here,
    namespace: Namespace,
    name: JobName,
    uid: Uid = None,
    state: Annotated[TaskState | None, Query(description="Only in this state.", examples=["Failure"])] = None,
    limit: Limit = 100,
    cursor: TaskCursor = None,
) -> TaskList:
    """In the order of the selection. A job that was just created has none yet."""
    after = cursors.task_of(cursor)
    record = find_record(here, namespace, name, uid)
    if record is None:
        if find_resource(here, namespace, name, uid) is None:
            raise not_found("TransferJob in that namespace")
        return TaskList(items=())
    found = here.ledger.task_page(record.id, state, after, limit + 1)
    following = cursors.of_task(found[limit - 1].id) if len(found) > limit else None
    return TaskList(items=tuple(TaskView.of(task) for task in found[:limit]), next=following)


@router.get("/{taskId}", summary="Show a task", dependencies=[needs(Scope.READ)], responses=problems(404, 409))
def show_task(here: Here, record: Known, task_id: TaskId) -> TaskView:
    return TaskView.of(_task(here, record, task_id))


@router.get(
    "/{taskId}/attempts",
    summary="The attempts at a task, with their logs",
    dependencies=[needs(Scope.READ)],
    responses=problems(404, 409),
)
def list_attempts(here: Here, record: Known, task_id: TaskId) -> AttemptList:
    """The first one first."""
    task = _task(here, record, task_id)
    return attempt_list(here.ledger.attempts(task.id), here.ledger.events(task.id))


def _task(here: Services, record: Known, task_id: int) -> TaskRecord:
    task = here.ledger.task(record.id, task_id)
    if task is None:
        raise not_found("task in that job")
    return task
