"""A real Postgres for the tests: one embedded server a session, one fresh migrated database a test.

The fixtures are exposed by tests/conftest.py.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from adit.ledger.connection import engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")
ROOM = 512 * 2**20  # containers often have only 64 MB there


def fast_place() -> Path | None:
    """Making a database copies a thousand files: 20 ms in memory, 300 ms on a disk."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None


@dataclass
class DatabaseServer:
    """The session's server; `database` makes one more database."""

    server: EmbeddedPostgres
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _connection: psycopg.Connection | None = None  # kept: to connect costs as much as to copy a database

    def url(self, database: str, *, worker: bool = False, receiver: bool = False) -> str:
        whose = self.server.receiver_url if receiver else self.server.worker_url if worker else self.server.url
        return make_url(whose).set(database=database).render_as_string(hide_password=False)

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        if self._connection is None:
            plain = make_url(self.server.url).set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection = psycopg.connect(plain, autocommit=True)
        self._connection.execute(statement)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def database(self, template: str | None = TEMPLATE) -> str:
        """The name of a fresh database: migrated, or empty when `template` is None."""
        name = f"test_{next(self._numbers)}"
        source = sql.Identifier(template or "template0")
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(name), source))
        return name

    def drop(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """One Postgres for the session, without fsync and where there is room for it in memory."""
    with (
        tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as folder,
        EmbeddedPostgres(Path(folder) / "data", fsync=False) as server,
    ):
        made = DatabaseServer(server)
        made.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        migrate(made.url(TEMPLATE))
        yield made
        made.close()


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[str]:
    """The name of this test's own migrated database."""
    name = database_server.database()
    yield name
    database_server.drop(name)


@pytest.fixture
def ledger_url(database_server: DatabaseServer, database: str) -> str:
    """This test's database, as its owner."""
    return database_server.url(database)


@pytest.fixture
def worker_url(database_server: DatabaseServer, database: str) -> str:
    """The same database, as a member of the restricted role adit_worker."""
    return database_server.url(database, worker=True)


@pytest.fixture
def receiver_url(database_server: DatabaseServer, database: str) -> str:
    """The same database, as a member of the restricted role adit_receiver."""
    return database_server.url(database, receiver=True)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    source = engine(ledger_url)
    yield Ledger(source)
    source.dispose()
