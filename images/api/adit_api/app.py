"""The application: its routes, its errors, its OpenAPI document. Made by `main`, and by the tests."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

from adit_api.answer_examples import with_examples
from adit_api.bodies import BODIES
from adit_api.envelope import Envelope
from adit_api.problem_examples import with_problem_examples
from adit_api.problems import HANDLED, Problem, answer_unforeseen, handle
from adit_api.routes import health, manifests, nodes, profiles, progress, selections, tasks, transfer_jobs
from adit_api.services import Services

DESCRIPTION: Final = """
Moves medical imaging studies between systems that speak DICOM, provably complete. Each TransferJob created here is a
resource like those in YAML; everything told of it comes from the ledger. No answer but `find`'s names a patient.

Every error is an RFC 9457 problem; `X-Request-ID` finds it in the log.
"""


def create(services: Services) -> ASGIApp:
    """The whole application, its envelope included."""
    app = application()
    app.state.services = services
    return Envelope(app)


def application() -> FastAPI:
    """The routes and their document; nothing that it serves works before it has services."""
    app = FastAPI(
        title="ADIT",
        version=version("adit"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    for kind in HANDLED:
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, answer_unforeseen)
    for routes in (transfer_jobs, progress, tasks, manifests, selections, nodes, profiles, health):
        app.include_router(routes.router)
    document = _document(app)
    app.state.parameters = _query_parameters(document)
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app


def _query_parameters(document: dict[str, Any]) -> dict[tuple[str, str], frozenset[str]]:
    """Their names, by path and method."""
    return {
        (path, method.upper()): frozenset(
            each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def _document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, the bodies, which are not read by FastAPI, and an example of each answer and problem."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    _, bodies = models_json_schema(
        [*((model, "validation") for model in BODIES), (Problem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= bodies["$defs"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return with_problem_examples(with_examples(document))
