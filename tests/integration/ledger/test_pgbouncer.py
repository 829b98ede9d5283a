"""Behind PgBouncer in transaction mode, with fewer server connections than clients, all works the same."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, make_url

from adit.ledger.connection import engine
from adit.ledger.embedded import EmbeddedPostgres
from adit.ledger.ledger import Ledger
from adit.ledger.migration import migrate
from adit.ledger.postgres_binaries import server_user
from adit.model.assignment import Progress
from adit.model.instance import InstanceState
from adit.model.state import TaskState
from tests.integration.ledger.scene import NOW, SUCCESS, Scene, after, report, row, transfer_job
from tests.postgres import fast_place

PGBOUNCER = "/usr/sbin/pgbouncer"
SETTINGS = """
[databases]
adit = host={server} dbname=adit
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 1
"""


@dataclass
class Pooled:
    """The same database as seen through the pooler; each role has one server connection."""

    owner: str
    worker: str


@pytest.fixture
def pooled() -> Iterator[Pooled]:
    user = server_user()
    with (
        tempfile.TemporaryDirectory(dir=fast_place(), prefix="adit-tests-") as data,
        EmbeddedPostgres(Path(data) / "data", fsync=False) as server,
        tempfile.TemporaryDirectory(prefix="adit-tests-") as folder,
    ):
        migrate(server.url)
        _admit(server, user.name)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        settings = Path(folder) / "pgbouncer.ini"
        users = Path(folder) / "users.txt"
        users.write_text("".join(f'"{make_url(url).username}" ""\n' for url in (server.url, server.worker_url)))
        settings.write_text(SETTINGS.format(server=make_url(server.url).query["host"], port=port, users=users))
        for path in (settings.parent, settings, users):
            path.chmod(0o755)
        drop = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.foreign else {}
        with subprocess.Popen(  # type: ignore[call-overload]
            [PGBOUNCER, str(settings)], cwd="/", stderr=subprocess.DEVNULL, **drop
        ) as process:
            try:
                owner, worker = (
                    URL.create("postgresql+psycopg", name, host="127.0.0.1", port=port, database="adit")
                    for name in (make_url(server.url).username, make_url(server.worker_url).username)
                )
                _await(owner)
                yield Pooled(owner.render_as_string(), worker.render_as_string())
            finally:
                process.terminate()


def _admit(server: EmbeddedPostgres, user: str) -> None:
    """Let the pooler in under its own operating system user."""
    names = [make_url(url).username for url in (server.url, server.worker_url)]
    with (server.data / "cluster" / "pg_ident.conf").open("a") as file:
        file.writelines(f'adit "{user}" {name}\n' for name in names)
    with psycopg.connect(make_url(server.url).set(drivername="postgresql").render_as_string()) as connection:
        connection.execute("SELECT pg_reload_conf()")


def _await(url: URL) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url.set(drivername="postgresql").render_as_string()).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def test_dispatcher_and_workers_share_few_server_connections(pooled: Pooled) -> None:
    """Six workers at once on one server connection: each sees its own token and its own rows only."""
    source = engine(pooled.owner)
    scene = Scene(Ledger(source), pooled.worker)
    studies = [f"1.2.{number}" for number in range(6)]
    job = scene.apply(transfer_job(studies=studies))
    claims = scene.claim(job.id, len(studies))
    seen: dict[int, list[str]] = {}

    def work(number: int) -> None:
        worker = scene.worker(claims[number])
        worker.begin("w", NOW)
        for step in InstanceState:
            worker.write([row(f"{number}.{place}", step) for place in range(20)], Progress(), [], after(1))
        seen[number] = [record.sop_instance_uid for record in worker.instances()]
        worker.finish(report(), after(2))
        worker.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(len(claims))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert seen == {number: sorted(f"{number}.{place}" for place in range(20)) for number in range(len(claims))}
    for ended in scene.ledger.ended(10):
        assert scene.ledger.settle(ended.attempt_id, SUCCESS, after(3))
    assert {task.state for task in scene.ledger.tasks(job.id)} == {TaskState.SUCCESS}
    source.dispose()
