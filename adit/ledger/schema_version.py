"""Whether the database has the schema of this version, asked without alembic. Called by those who wait for it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text

from adit.ledger.connection import transaction
from adit.ledger.migrations import versions

NEWEST: Final = max(path.name.split("_")[0] for path in Path(versions.__path__[0]).glob("[0-9]*_*.py"))
"""The newest revision that this version knows; revisions are numbered in order."""


class Schema(StrEnum):
    MISSING = "missing"  # not migrated at all
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"  # migrated by a newer version


def schema(engine: Engine) -> Schema:
    """Raises LedgerUnavailable."""
    with transaction(engine) as connection:
        return schema_seen_by(connection)


def schema_seen_by(connection: Connection) -> Schema:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return Schema.MISSING
    revision = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one()
    if revision is None:
        return Schema.MISSING
    if revision == NEWEST:
        return Schema.CURRENT
    return Schema.OLDER if revision < NEWEST else Schema.NEWER
