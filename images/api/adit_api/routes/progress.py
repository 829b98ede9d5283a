"""Server-sent events of a job's progress: what `show` tells, again whenever it changes, until the job has ended.

Polls the ledger: a database behind a pooler cannot call back. Each stream begins with how the job stands, so
a Last-Event-ID needs no memory here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final
from uuid import UUID

import anyio
import anyio.to_thread
from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from adit.ledger.api_tokens import Scope
from adit.ledger.connection import LedgerUnavailable
from adit.ledger.records import TokenRecord
from adit_api.callers import Caller, needs
from adit_api.job_view import JobView
from adit_api.metrics import STREAMS
from adit_api.problems import ProblemError
from adit_api.registry import Key, RegistryUnavailable
from adit_api.routes.paths import JobName, Namespace, Uid, problems
from adit_api.routes.transfer_jobs import tell
from adit_api.services import Here, Services

router: Final = APIRouter(prefix="/v1/transferjobs/{namespace}/{name}", tags=["TransferJobs"])

POLL_SECONDS: Final = 1.0
STREAM_SECONDS: Final = 900.0
"""Then it ends, and a client that wants more connects again: with a token that is still good."""
_RETRY_MILLISECONDS: Final = 2000


@router.get(
    "/progress",
    summary="A job's progress as server-sent events",
    dependencies=[needs(Scope.READ)],
    responses={
        200: {
            "description": "`progress` whenever something changes, `end` when the job has ended, `gone` if it is gone; "
            "the data are what `show` tells. `unavailable` while the ledger cannot be reached.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(404),
    },
    response_class=EventSourceResponse,
)
def progress(
    here: Here,
    caller: Caller,
    namespace: Namespace,
    name: JobName,
    uid: Uid = None,
    last_event_id: Annotated[
        str | None, Header(description="Ignored: a stream begins with how things are.", examples=["1"])
    ] = None,
) -> EventSourceResponse:
    """Ends with the job, after 15 minutes, with the token, or when the facade is stopped: then connect again."""
    first = tell(here, (namespace, name), uid)
    here.open_stream()
    stopping = anyio.Event()
    return EventSourceResponse(
        _events(here, caller, (namespace, name), uid, first, stopping),
        ping=15,
        headers={"Cache-Control": "no-store"},
        send_timeout=30,
        shutdown_event=stopping,
        shutdown_grace_period=5,
    )


async def _events(
    here: Services, caller: TokenRecord, key: Key, uid: UUID | None, first: JobView, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    STREAMS.inc()
    try:
        view: JobView | None = first
        told, number, until = "", 0, anyio.current_time() + STREAM_SECONDS
        while anyio.current_time() < until and here.clock() < caller.expires_at:
            text = "" if view is None else view.model_dump_json(by_alias=True, exclude_none=True)
            if text != told:
                number += 1
                ended = view is not None and view.state.ended and view.ended_at is not None
                event = "unavailable" if view is None else "end" if ended else "progress"
                yield ServerSentEvent(text or "{}", event=event, id=str(number), retry=_RETRY_MILLISECONDS)
                if ended:
                    return
            told = text
            with anyio.move_on_after(POLL_SECONDS):
                await stopping.wait()
                return
            try:
                view = await anyio.to_thread.run_sync(tell, here, key, uid)
            except (LedgerUnavailable, RegistryUnavailable):
                view = None
            except ProblemError:
                yield ServerSentEvent("{}", event="gone", id=str(number + 1))
                return
    finally:
        STREAMS.dec()
        here.close_stream()
