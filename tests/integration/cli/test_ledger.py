"""Which ledger a command uses, and what it says when that can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.command import Adit
from tests.postgres import DatabaseServer


@pytest.fixture
def empty_database(database_server: DatabaseServer) -> Iterator[str]:
    name = database_server.database(template=None)
    yield database_server.url(name)
    database_server.drop(name)


def test_a_server_is_migrated_only_when_asked(adit: Adit, empty_database: str) -> None:
    url = empty_database.replace("postgresql+psycopg://", "postgresql://")
    before = adit("status", ADIT_DATABASE_URL=url)
    assert before.code == 2
    assert "Run `adit migrate` first" in before.err
    migrated = adit("migrate", ADIT_DATABASE_URL=url)
    assert migrated.code == 0, migrated.err
    assert migrated.out.startswith("applied ")
    assert "up to date" in adit("migrate", ADIT_DATABASE_URL=url).err
    assert "There are no jobs yet" in adit("status", ADIT_DATABASE_URL=url).out


def test_the_login_may_be_a_file_and_the_environment_wins(tmp_path: Path, ledger_url: str) -> None:
    (tmp_path / "ADIT_DATABASE_URL").write_text(f"{ledger_url}\n")
    adit = Adit(tmp_path, {"ADIT_CREDENTIALS": str(tmp_path)})
    assert "There are no jobs yet" in adit("status").out
    assert "is unavailable" in adit("status", ADIT_DATABASE_URL="postgresql://adit@127.0.0.1:1/adit").err


def test_a_server_that_is_away(adit: Adit) -> None:
    ended = adit("status", ADIT_DATABASE_URL="postgresql://adit@127.0.0.1:1/adit")
    assert ended.code == 2
    assert ended.err.startswith("The ledger cannot be used: the database is unavailable")
    assert "Check that its server runs, and the host, port, name and password in ADIT_DATABASE_URL." in ended.err


def test_without_a_server_the_data_folder_has_one(tmp_path: Path) -> None:
    adit = Adit(tmp_path, {"XDG_DATA_HOME": str(tmp_path / "share")})
    for data in ([], ["--data", "elsewhere"]):
        ended = adit(*data, "status")
        assert (ended.code, ended.out) == (0, "There are no jobs yet: `adit run FILE` or `adit apply FILE`.\n"), (
            ended.err
        )
    assert (tmp_path / "share/adit/postgres").is_dir()
    assert (tmp_path / "elsewhere/postgres").is_dir()
