"""The workers' login: made by whoever migrates, with the URL's password, and never mightier than a worker."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.migration import migrate
from adit.ledger.worker_login import Change, WorkerLoginRefused, ensure_worker_login
from tests.integration.cli.command import Adit
from tests.postgres import fast_place

PASSWORD = "p%:/@\"\\' ü"  # what a URL and a statement could stumble over


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that lets only its owner in without a password, and writes down every statement."""
    with tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as folder:
        data = Path(folder) / "data"
        with EmbeddedPostgres(data, fsync=False) as started:
            migrate(started.url)
            [rules] = data.rglob("pg_hba.conf")
            rules.write_text("local all adit peer map=adit\nlocal all all scram-sha-256\n")
            execute(started, "ALTER SYSTEM SET log_statement = 'all'")
            execute(started, "SELECT pg_reload_conf()")
            yield started


def execute(server: EmbeddedPostgres, statement: str) -> None:
    plain = make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)


def url_of(server: EmbeddedPostgres, name: str, password: str = PASSWORD) -> str:
    owner = make_url(server.url)
    query = f"?host={quote(str(owner.query['host']), safe='')}"
    return f"postgresql+psycopg://{quote(name, safe='')}:{quote(password, safe='')}@/{owner.database}{query}"


def rights(url: str) -> tuple[bool, bool]:
    """Whether the login is a worker, and whether it could do more."""
    source = engine(url, connections=1)
    try:
        with transaction(source) as connection:
            found = connection.execute(
                text(
                    "SELECT pg_has_role('adit_worker', 'USAGE'), rolsuper OR rolcreaterole OR rolcreatedb "
                    "FROM pg_roles WHERE rolname = current_user"
                )
            ).one()
            return found[0], found[1]
    finally:
        source.dispose()


@pytest.mark.parametrize("name", ["worker_a", 'odd "name" 100%s'])
def test_made_once_and_then_left_alone(server: EmbeddedPostgres, name: str) -> None:
    url = url_of(server, name)
    assert ensure_worker_login(server.url, url) is Change.CREATED
    assert rights(url) == (True, False)
    assert ensure_worker_login(server.url, url) is Change.NONE


def test_gets_the_password_that_the_url_has_now(server: EmbeddedPostgres) -> None:
    old, new = url_of(server, "worker_b", "old"), url_of(server, "worker_b", "new")
    ensure_worker_login(server.url, old)
    assert ensure_worker_login(server.url, new) is Change.ALTERED
    assert rights(new) == (True, False)
    with pytest.raises(LedgerUnavailable, match="password authentication failed"):
        rights(old)


@pytest.mark.parametrize(
    "role", ["CREATE ROLE {} NOLOGIN", "CREATE ROLE {} LOGIN NOINHERIT IN ROLE adit_worker", "CREATE ROLE {} LOGIN"]
)
def test_a_role_that_is_there_becomes_a_worker(server: EmbeddedPostgres, role: str) -> None:
    name = f"worker_{abs(hash(role))}"
    execute(server, role.format(name))
    url = url_of(server, name)
    assert ensure_worker_login(server.url, url) is Change.ALTERED
    assert rights(url) == (True, False)
    assert ensure_worker_login(server.url, url) is Change.NONE


@pytest.mark.parametrize("role", ["adit", "CREATE ROLE {} LOGIN SUPERUSER", "CREATE ROLE {} LOGIN BYPASSRLS"])
def test_a_login_that_could_do_more_is_refused_and_untouched(server: EmbeddedPostgres, role: str) -> None:
    name = "adit" if role == "adit" else f"mighty_{abs(hash(role))}"
    if role != "adit":
        execute(server, role.format(name))
    with pytest.raises(WorkerLoginRefused, match=f"{name} may do what the ledger's owner may"):
        ensure_worker_login(server.url, url_of(server, name))


def test_an_owner_who_may_not_make_roles_is_told_what_to_run(server: EmbeddedPostgres) -> None:
    execute(server, "CREATE ROLE modest LOGIN PASSWORD 'modest'")
    owner, worker = url_of(server, "modest", "modest"), url_of(server, "worker_c")
    with pytest.raises(WorkerLoginRefused) as refusal:
        ensure_worker_login(owner, worker)
    [command] = [part for part in str(refusal.value).split("run: ") if part.startswith("CREATE ROLE")]
    assert PASSWORD not in str(refusal.value)
    execute(server, command.replace("'...'", sql.Literal(PASSWORD).as_string()))
    assert ensure_worker_login(owner, worker) is Change.NONE
    assert rights(worker) == (True, False)


def test_two_at_once_are_harmless(server: EmbeddedPostgres) -> None:
    done: list[Change] = []
    url = url_of(server, "worker_d")
    threads = [threading.Thread(target=lambda: done.append(ensure_worker_login(server.url, url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(done) == [Change.CREATED, Change.NONE, Change.NONE]


def test_a_login_that_finds_no_way_in_is_no_wrong_password(server: EmbeddedPostgres) -> None:
    ensure_worker_login(server.url, url_of(server, "worker_e"))
    elsewhere = f"postgresql+psycopg://worker_e:{quote(PASSWORD, safe='')}@127.0.0.1:1/adit"
    with pytest.raises(LedgerUnavailable, match="worker_e finds no way in"):
        ensure_worker_login(server.url, elsewhere)
    assert rights(url_of(server, "worker_e")) == (True, False)


def test_adit_migrate_makes_it_and_tells_no_password(server: EmbeddedPostgres, tmp_path: Path) -> None:
    adit = Adit(
        tmp_path, {"ADIT_DATABASE_URL": server.url, "ADIT_WORKER_DATABASE_URL": url_of(server, "worker_f", "psst")}
    )
    first, second = adit("migrate"), adit("migrate")
    assert (first.code, first.out) == (0, "workers' login created\n"), first.err
    assert (second.code, second.out) == (0, ""), second.err
    mighty = adit("migrate", ADIT_WORKER_DATABASE_URL=url_of(server, "adit", "psst"))
    assert mighty.code == 1
    assert "Name another login" in mighty.err
    assert "psst" not in first.err + second.err + mighty.out + mighty.err
    nameless = adit("migrate", ADIT_WORKER_DATABASE_URL="postgresql://db.example.org/adit")
    assert "names no user" in nameless.err


def test_no_password_reaches_the_server_in_a_statement(server: EmbeddedPostgres) -> None:
    ensure_worker_login(server.url, url_of(server, "worker_g", "plain-as-day"))
    ensure_worker_login(server.url, url_of(server, "worker_g", "clear-as-day"))
    logged = "".join(path.read_text(errors="replace") for path in server.data.rglob("*log") if path.is_file())
    assert "worker_g" in logged
    assert "SCRAM-SHA-256$" in logged
    assert "as-day" not in logged


def test_migrate_waits_for_a_database_that_comes_later(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as folder:
        with EmbeddedPostgres(Path(folder) / "data", fsync=False) as server:
            url = server.url
            assert Adit(tmp_path, {"ADIT_DATABASE_URL": url})("migrate").code == 0
        adit = Adit(tmp_path, {"ADIT_DATABASE_URL": "postgresql://adit@127.0.0.1:1/adit"})
        ended = adit("migrate", "--wait", "1")
        assert ended.code == 2
        assert "Waiting for the ledger, 1 s at most" in ended.err
        assert "The ledger cannot be migrated: the database is unavailable" in ended.err
