"""For those who run the facade: alive, ready, and counted. No token is needed; nothing about jobs is told."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from adit_api.job_view import View
from adit_api.metrics import REGISTRY
from adit_api.problems import ProblemError
from adit_api.routes.paths import problems
from adit_api.services import Here

router: Final = APIRouter(tags=["Operations"])


class Health(View):
    """All is well."""

    status: str = "ok"


_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: told for status, told in problems().items() if status in (500, 503)
}
_ALIVE: Final[dict[int | str, dict[str, Any]]] = {status: told for status, told in problems().items() if status == 500}


@router.get("/healthz", summary="Is it alive?", responses=_ALIVE)
async def healthz() -> Health:
    return Health()


@router.get("/readyz", summary="Is the ledger there and migrated?", responses=_PROBLEMS)
def readyz(here: Here) -> Health:
    revision = here.ledger.revision()
    if revision is None or revision < here.newest_revision:
        told = "The ledger lacks migrations of this version. Run `adit migrate`."
        raise ProblemError(503, "unavailable", told, headers={"Retry-After": "5"})
    return Health()


@router.get(
    "/metrics",
    summary="For Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_ALIVE},
    response_class=Response,
)
async def metrics() -> Response:
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
