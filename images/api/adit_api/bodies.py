"""A request's body as a model: bounded in size and time, strict as the API server is, parsed outside the event loop."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from adit_api.problems import ProblemError, violations

SMALL: Final = 2**20
LARGE: Final = 32 * 2**20  # 50,000 studies of 600 bytes
_SECONDS: Final = 60.0
_Model = TypeVar("_Model", bound=BaseModel)


def body_of(model: type[_Model], *, most: int = SMALL, absent: _Model | None = None) -> Any:
    """A route's dependency that gives the body as `model`; `absent` is what a missing body stands for, if it may be.

    The route also has `openapi_extra=described(model)`.
    """

    async def read(request: Request) -> _Model:
        if absent is not None and _announces_none(request):
            return absent
        raw = await _bytes(request, most)
        try:
            return await anyio.to_thread.run_sync(_parse, model, raw)
        except ValidationError as error:
            raise violations(error, model) from None

    return Depends(read)


def _parse(model: type[_Model], raw: bytes) -> _Model:
    # strict JSON: "5" is no number and 1 is no truth, as in a CRD
    return model.model_validate_json(raw, strict=True, by_alias=True, by_name=False)


def _announces_none(request: Request) -> bool:
    """RFC 9112, section 6.3: without either header a request has no body."""
    headers = request.headers
    return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"


async def _bytes(request: Request, most: int) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "unsupported-media-type", "Send Content-Type: application/json.")
    too_large = ProblemError(413, "too-large", f"At most {most // 2**20} MiB.", headers={"Connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > most:
        raise too_large
    read = bytearray()
    try:
        with anyio.fail_after(_SECONDS):
            async for part in request.stream():
                read += part
                if len(read) > most:
                    raise too_large
    except (TimeoutError, ClientDisconnect):
        raise ProblemError(
            408, "timeout", f"It must be there within {_SECONDS:.0f} s.", headers={"Connection": "close"}
        ) from None
    return bytes(read)


BODIES: Final[list[type[BaseModel]]] = []
"""The models of bodies, for `openapi`."""


def described(model: type[BaseModel], *, required: bool = True, **examples: Any) -> dict[str, Any]:
    """The body in OpenAPI's words; `examples` by name."""
    if model not in BODIES:
        BODIES.append(model)
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
    if examples:
        content["examples"] = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": required, "content": {"application/json": content}}}
