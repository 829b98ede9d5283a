"""Brings a database to the schema of this version. Called by `adit migrate` and before embedded use.

Workers and dispatchers only need the result; this module alone imports alembic, and only where something is missing:
that takes as long as a short command.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from adit.ledger.connection import engine, transaction
from adit.ledger.schema_version import Schema, schema_seen_by

if TYPE_CHECKING:
    from alembic.config import Config

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
                from alembic import command

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


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    # % would be read as an interpolation
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _missing(connection: Connection) -> tuple[str, ...]:
    """Oldest first."""
    if schema_seen_by(connection) is Schema.CURRENT:
        return ()
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    applied = set(MigrationContext.configure(connection).get_current_heads())
    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]  # newest first
    if not applied <= set(known):
        raise SchemaTooNew(
            f"the database has revision {', '.join(sorted(applied))}, this version knows up to {known[0]}; "
            f"use the version of adit that migrated it, or a newer one"
        )
    newer = itertools.takewhile(lambda revision: revision not in applied, known)
    return tuple(reversed(list(newer)))
