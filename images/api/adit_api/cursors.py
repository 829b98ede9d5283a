"""Cursors: where the next page begins, opaque to callers. They hold keys of rows, nothing secret."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Final
from uuid import UUID

from adit.ledger.job_pages import JobKey
from adit_api.problems import ProblemError, Violation

_LARGEST: Final = 2**63 - 1


def of_job(key: JobKey) -> str:
    return _written("j", key[0].isoformat(), str(key[1]))


def job_of(cursor: str | None) -> JobKey | None:
    if cursor is None:
        return None
    at, identity = _read(cursor, "j", 2)
    try:
        key = datetime.fromisoformat(at), UUID(identity)
    except ValueError:
        raise _wrong() from None
    if key[0].tzinfo is None:
        raise _wrong()
    return key


def of_task(task_id: int) -> str:
    return _written("t", str(task_id))


def task_of(cursor: str | None) -> int:
    if cursor is None:
        return 0
    (text,) = _read(cursor, "t", 1)
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST):
        raise _wrong()
    return int(text)


def of_resource(key: tuple[str, str]) -> str:
    return _written("n", *key)


def resource_of(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return "", ""
    namespace, name = _read(cursor, "n", 2)
    return namespace, name


def _written(*parts: str) -> str:
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _read(cursor: str, kind: str, parts: int) -> list[str]:
    try:
        read = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise _wrong() from None
    if not (isinstance(read, list) and len(read) == parts + 1 and all(isinstance(each, str) for each in read)):
        raise _wrong()
    if read[0] != kind:
        raise _wrong()
    return read[1:]


def _wrong() -> ProblemError:
    rule = "must be the `next` of an answer to the same request"
    return ProblemError(422, "invalid", "The cursor is none.", errors=[Violation(field="query.cursor", rule=rule)])
