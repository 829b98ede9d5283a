"""The schema: made once, made safely, and the same as the tables that the queries are written against."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import text

from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.migration import SchemaTooNew, migrate, pending
from adit.ledger.migrations import versions
from adit.ledger.tables import metadata
from tests.postgres import DatabaseServer

# Everything of the schema that a query can notice, as Postgres itself prints it.
CATALOGUE = """
SELECT 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || ' ' || a.attidentity::text
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE a.attnum > 0 AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> 'alembic_version'
UNION ALL
SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conparentid = 0
     AND conrelid <> coalesce(to_regclass('instance_default'), 0)
     AND conrelid <> coalesce(to_regclass('alembic_version'), 0)
UNION ALL
SELECT 'index ' || indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename NOT IN ('instance_default', 'alembic_version')
UNION ALL
SELECT 'enum ' || enumtypid::regtype || ' ' || string_agg(enumlabel, ' ' ORDER BY enumsortorder)
FROM pg_enum GROUP BY enumtypid
"""

REVISIONS = tuple(sorted(path.name[:4] for path in Path(versions.__path__[0]).glob("0*.py")))


@pytest.fixture
def empty_url(database_server: DatabaseServer) -> Iterator[str]:
    name = database_server.database(template=None)
    yield database_server.url(name)
    database_server.drop(name)


def catalogue(url: str) -> list[str]:
    source = engine(url, connections=1)
    with transaction(source) as connection:
        found = sorted(connection.execute(text(CATALOGUE)).scalars())
    source.dispose()
    return found


def test_migrating_tells_what_it_did_and_does_it_once(empty_url: str) -> None:
    assert pending(empty_url) == REVISIONS
    assert migrate(empty_url) == REVISIONS
    assert migrate(empty_url) == ()
    assert pending(empty_url) == ()


def test_two_migrations_at_once_are_harmless(empty_url: str) -> None:
    done: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda: done.append(migrate(empty_url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(done) == [(), (), REVISIONS]


def test_the_tables_in_code_are_the_tables_in_the_database(empty_url: str, ledger_url: str) -> None:
    source = engine(empty_url, connections=1)
    with source.begin() as connection:
        metadata.create_all(connection)
    source.dispose()
    assert catalogue(empty_url) == catalogue(ledger_url)


def test_an_owner_without_superuser_rights_can_migrate(database_server: DatabaseServer, empty_url: str) -> None:
    name = empty_url.partition("?")[0].rpartition("/")[2]
    database_server.execute(sql.SQL("CREATE ROLE modest NOLOGIN"))
    database_server.execute(sql.SQL("ALTER DATABASE {} OWNER TO modest").format(sql.Identifier(name)))
    source = engine(empty_url, connections=1)
    with source.begin() as connection:
        connection.execute(text("GRANT CREATE, USAGE ON SCHEMA public TO modest"))
        connection.execute(text(f"ALTER ROLE adit IN DATABASE {name} SET role = 'modest'"))
    source.dispose()
    assert migrate(empty_url) == REVISIONS
    source = engine(empty_url, connections=1)
    with source.begin() as connection:
        owners = set(connection.execute(text("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")).scalars())
    source.dispose()
    assert owners == {"modest"}


def test_a_newer_schema_is_left_alone(ledger_url: str) -> None:
    source = engine(ledger_url, connections=1)
    with transaction(source) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    source.dispose()
    for use in (migrate, pending):
        with pytest.raises(SchemaTooNew, match="9999"):
            use(ledger_url)


def test_a_database_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(LedgerUnavailable, match="unavailable"):
        migrate("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
