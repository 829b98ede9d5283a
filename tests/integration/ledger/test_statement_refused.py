"""What Postgres says about a refused statement holds the row; what we say never does."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from adit.ledger.connection import LedgerError, engine, transaction
from tests.integration.ledger.scene import NOW, Scene
from tests.postgres import DatabaseServer


@pytest.fixture
def owner(ledger_url: str) -> Iterator[Engine]:
    source = engine(ledger_url)
    yield source
    source.dispose()


def constrain(owner: Engine, table: str, rule: str) -> None:
    with transaction(owner) as connection:
        connection.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT strange CHECK ({rule})"))


def test_neither_error_nor_traceback_shows_the_row(scene: Scene, owner: Engine) -> None:
    constrain(owner, "task", "patient_id <> '1003'")
    with pytest.raises(LedgerError) as refused:
        scene.apply()
    assert str(refused.value) == "CheckViolation (SQLSTATE 23514, table task, constraint strange)"
    shown = "".join(traceback.format_exception(refused.value))
    assert "1003" not in shown
    assert "Failing row" not in shown


def test_nor_the_attempts_token(scene: Scene, owner: Engine) -> None:
    assignment = scene.claim(scene.apply().id)[0]
    constrain(owner, "attempt", "reference IS NULL")
    worker = scene.worker(assignment)
    with pytest.raises(LedgerError) as refused:
        worker.begin("worker-1", NOW)
    worker.close()
    assert refused.value.constraint == "strange"
    assert str(assignment.token) not in "".join(traceback.format_exception(refused.value))


def test_a_value_that_postgres_repeats_is_not_repeated(owner: Engine) -> None:
    with pytest.raises(LedgerError) as refused, transaction(owner) as connection:
        connection.execute(text("SELECT CAST(:patient AS text)::int"), {"patient": "SECRET-7"})
    assert (refused.value.sqlstate, str(refused.value)) == (
        "22P02",
        "InvalidTextRepresentation (SQLSTATE 22P02)",
    )
    assert "SECRET-7" not in "".join(traceback.format_exception(refused.value))


def test_parameters_are_hidden_even_where_nothing_is_translated(owner: Engine) -> None:
    with owner.connect() as connection, pytest.raises(Exception, match="hidden") as raw:
        connection.execute(text("SELECT nowhere(CAST(:patient AS text))"), {"patient": "SECRET-7"})
    assert "SECRET-7" not in str(raw.value)


def test_nor_does_the_servers_own_log(scene: Scene, owner: Engine, database_server: DatabaseServer) -> None:
    """Postgres writes there which row failed, or which key was there already."""
    log = database_server.server.data / "cluster" / "server.log"
    before = log.stat().st_size
    constrain(owner, "task", "patient_id <> '1003'")
    with pytest.raises(LedgerError):
        scene.apply()
    with transaction(owner) as connection:
        connection.execute(text("CREATE TABLE named (patient text PRIMARY KEY)"))
    with pytest.raises(LedgerError), transaction(owner) as connection:
        connection.execute(text("INSERT INTO named SELECT :patient FROM generate_series(1, 2)"), {"patient": "1003"})
    written = log.read_bytes()[before:].decode()
    assert "strange" in written
    assert "named_pkey" in written
    assert ", 1003," not in written  # in the row
    assert "(1003)" not in written  # in the key
