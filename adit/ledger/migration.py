"""Brings a database to the schema of this version. Called by `adit migrate` and before embedded use.

Workers and dispatchers only need the result; this module alone imports alembic.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from adit.ledger.connection import engine, transaction

_LOCK: Final = 0x41444954_4D494752  # "ADITMIGR"


class SchemaTooNew(Exception):  # noqa: N818 - what the schema is
    """The database was migrated by a newer version; this one must not touch it."""


def migrate(url: str) -> tuple[str, ...]:
    """Apply what is missing, in one transaction, and return the revisions that were applied.

    Two at once are safe: the second waits and finds nothing to do. Makes the group role `adit_worker`
    where the role of `url` may do so; else it must exist. Raises LedgerUnavailable and SchemaTooNew.
    """
    source = engine(url, connections=1)
    try:
        with transaction(source) as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            missing = _missing(connection)
            if missing:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            return missing
    finally:
        source.dispose()


def pending(url: str) -> tuple[str, ...]:
    """The revisions that `migrate` would apply. Raises LedgerUnavailable and SchemaTooNew."""
    source = engine(url, connections=1)
    try:
        with transaction(source) as connection:
            return _missing(connection)
    finally:
        source.dispose()


def newest() -> str:
    """The revision that this version's schema has."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101 - there is always one
    return head


def _config() -> Config:
    config = Config()
    # % would be read as an interpolation
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _missing(connection: Connection) -> tuple[str, ...]:
    """Oldest first."""
    applied = set(MigrationContext.configure(connection).get_current_heads())
    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]  # newest first
    if not applied <= set(known):
        raise SchemaTooNew(
            f"the database has revision {', '.join(sorted(applied))}, this version knows up to {known[0]}; "
            f"use the version of adit that migrated it, or a newer one"
        )
    newer = itertools.takewhile(lambda revision: revision not in applied, known)
    return tuple(reversed(list(newer)))
