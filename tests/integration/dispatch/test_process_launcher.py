"""The process launcher on real processes: own children, orphans of a killed launcher, reused pids.

The worker is a stand-in of the same name that writes down what it was given and then does as it is told.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest

from adit.dispatch.launcher import LaunchFailed
from adit.dispatch.process_launcher import ProcessLauncher
from adit.ledger.records import Claim, RunningAttempt
from adit.model.assignment import Assignment
from adit.model.process_reference import make, start_ticks
from tests.unit.dispatch.nouns import folder_node

NOW = datetime(2026, 3, 2, tzinfo=UTC)
TOKEN = UUID("6f1d0b4e-0000-4000-8000-000000000001")
DATABASE = "postgresql+psycopg://adit_worker:hush@localhost/adit"

STAND_IN = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["STAND_IN_FOLDER"])
if os.environ.get("STAND_IN_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
facts = {"pid": os.getpid(), "session": os.getsid(0), "argv": sys.argv, "environment": dict(os.environ)}
temporary = folder / "facts.tmp"
temporary.write_text(json.dumps(facts))
temporary.rename(folder / "facts.json")
print("a line for the log", file=sys.stderr, flush=True)
while not (folder / "end").exists():
    time.sleep(0.01)
"""


class StandIn:
    """A folder in which the stand-in worker reports, and is told to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = folder / "packages" / "adit_worker"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(STAND_IN)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder / "packages"),
            "STAND_IN_FOLDER": str(folder),
        }

    def facts(self) -> dict[str, object]:
        path = self.folder / "facts.json"
        wait_for(path.exists)
        facts: dict[str, object] = json.loads(path.read_text())
        return facts

    def pid(self) -> int:
        pid = self.facts()["pid"]
        assert isinstance(pid, int)
        return pid

    def end(self) -> None:
        (self.folder / "end").touch()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.end()


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def launcher_for(
    stand_in: StandIn, on_exit: Callable[[], None] = lambda: None, stubborn: bool = False
) -> ProcessLauncher:
    return ProcessLauncher(
        DATABASE,
        spool=stand_in.folder / "spool",
        secrets=stand_in.folder / "secrets",
        logs=stand_in.folder / "logs",
        on_exit=on_exit,
        environment=stand_in.environment | ({"STAND_IN_STUBBORN": "1"} if stubborn else {}),
    )


def a_claim(attempt_id: int = 7) -> Claim:
    return Claim(
        Assignment(
            attempt_id=attempt_id,
            token=TOKEN,
            number=1,
            task_id=1,
            job_id=UUID(int=1),
            job_name="job",
            namespace="default",
            owner="default",
            job_created_on=date(2026, 3, 2),
            study_instance_uid="1.2.3",
            source=folder_node("pacs"),
            destination=folder_node("research"),
        )
    )


def an_attempt(reference: str | None = None, attempt_id: int = 7) -> RunningAttempt:
    return RunningAttempt(
        attempt_id=attempt_id,
        token=TOKEN,
        number=1,
        task_id=1,
        job_id=UUID(int=1),
        namespace="default",
        claimed_at=NOW,
        begun_at=None,
        heartbeat_at=None,
        reference=reference,
        stop_requested_at=None,
        deadline=None,
        terminate=False,
    )


def reference_of(pid: int) -> str:
    return make(socket.gethostname(), pid, start_ticks(Path(f"/proc/{pid}/stat").read_text()))


def test_a_worker_gets_its_identity_by_environment_and_nothing_by_arguments(stand_in: StandIn) -> None:
    launcher_for(stand_in).launch(a_claim())
    facts = stand_in.facts()
    environment = facts["environment"]
    assert isinstance(environment, dict)
    assert environment["ADIT_ATTEMPT"] == "7"
    assert environment["ADIT_ATTEMPT_TOKEN"] == str(TOKEN)
    assert environment["ADIT_DATABASE_URL"] == DATABASE
    assert environment["ADIT_SPOOL"] == str(stand_in.folder / "spool")
    assert environment["ADIT_SECRETS"] == str(stand_in.folder / "secrets")
    assert environment["MALLOC_ARENA_MAX"] == "2"
    command_line = Path(f"/proc/{facts['pid']}/cmdline").read_text()
    assert "hush" not in command_line
    assert str(TOKEN) not in command_line


def test_a_worker_has_a_session_of_its_own_and_a_log_of_its_own(stand_in: StandIn) -> None:
    launcher_for(stand_in).launch(a_claim())
    facts = stand_in.facts()
    assert facts["session"] == facts["pid"] != os.getsid(0)
    log = stand_in.folder / "logs" / "attempt-7.log"
    wait_for(lambda: "a line for the log" in log.read_text())
    assert log.stat().st_mode & 0o077 == 0


def test_launching_twice_starts_one_worker(stand_in: StandIn) -> None:
    launcher = launcher_for(stand_in)
    launcher.launch(a_claim())
    pid = stand_in.pid()
    (stand_in.folder / "facts.json").unlink()
    launcher.launch(a_claim())
    launcher.launch(a_claim(attempt_id=8))  # the second worker to report is this one
    assert stand_in.pid() != pid
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert children.count(str(pid)) == 1


def test_an_ended_child_is_waited_for_and_told_of_at_once(stand_in: StandIn) -> None:
    told = threading.Event()
    launcher = launcher_for(stand_in, told.set)
    launcher.launch(a_claim())
    pid = stand_in.pid()
    assert launcher.alive(an_attempt()) is True
    stand_in.end()
    assert told.wait(90)
    assert launcher.alive(an_attempt()) is False
    launcher.reap(())
    assert launcher.alive(an_attempt()) is False
    assert not Path(f"/proc/{pid}").exists()  # not even a zombie


def test_stop_asks_and_kill_does_not(stand_in: StandIn) -> None:
    told = threading.Event()
    launcher = launcher_for(stand_in, told.set, stubborn=True)
    launcher.launch(a_claim())
    stand_in.facts()
    launcher.stop(an_attempt())
    assert not told.wait(0.2)
    assert launcher.alive(an_attempt()) is True
    launcher.kill(an_attempt())
    assert told.wait(90)
    assert launcher.alive(an_attempt()) is False
    launcher.kill(an_attempt())
    launcher.stop(an_attempt())


def test_its_own_workers_are_stopped_and_killed_without_knowing_anything_of_the_ledger(stand_in: StandIn) -> None:
    launcher = launcher_for(stand_in)
    assert launcher.own() == frozenset()
    launcher.launch(a_claim())
    stand_in.facts()
    assert launcher.own() == {7}
    launcher.stop_own()
    wait_for(lambda: not launcher.own())
    stubborn = launcher_for(stand_in, stubborn=True)
    (stand_in.folder / "facts.json").unlink()
    stubborn.launch(a_claim())
    stand_in.facts()
    stubborn.stop_own()
    assert stubborn.own() == {7}
    stubborn.kill_own()
    wait_for(lambda: not stubborn.own())
    stubborn.stop_own()


def test_a_worker_that_cannot_be_started_is_said_to_be_so(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(stand_in.folder / "no-such-python"))
    with pytest.raises(LaunchFailed):
        launcher_for(stand_in).launch(a_claim())


LAUNCH_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.integration.dispatch import test_process_launcher as here
stand_in = here.StandIn.__new__(here.StandIn)
stand_in.folder = Path(os.environ["STAND_IN_FOLDER"])
stand_in.environment = dict(os.environ)
here.launcher_for(stand_in).launch(here.a_claim())
stand_in.facts()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_of_a_killed_launcher_is_found_by_its_reference(stand_in: StandIn) -> None:
    dead = subprocess.run([sys.executable, "-c", LAUNCH_AND_DIE], env=stand_in.environment, timeout=60, check=False)
    assert dead.returncode == -signal.SIGKILL
    pid = stand_in.pid()
    attempt = an_attempt(reference_of(pid))
    launcher = launcher_for(stand_in)
    assert launcher.alive(an_attempt()) is None  # it has not begun as far as the ledger knows: only its lease tells
    assert launcher.alive(attempt) is True
    launcher.stop(attempt)
    wait_for(lambda: launcher.alive(attempt) is False)


def test_a_process_that_took_over_the_pid_is_neither_alive_nor_harmed(stand_in: StandIn) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        host, pid, ticks = reference_of(bystander.pid).split("/")
        stale = an_attempt(f"{host}/{pid}/{int(ticks) - 1}")
        launcher = launcher_for(stand_in)
        assert launcher.alive(stale) is False
        launcher.kill(stale)
        launcher.stop(stale)
        bystander.communicate(b"\n", timeout=20)
        assert bystander.returncode == 0


@pytest.mark.parametrize("reference", ["elsewhere/1/1", "adit-job-1-2", None])
def test_a_worker_elsewhere_cannot_be_told_about(stand_in: StandIn, reference: str | None) -> None:
    launcher = launcher_for(stand_in)
    assert launcher.alive(an_attempt(reference)) is None
    launcher.stop(an_attempt(reference))
    launcher.kill(an_attempt(reference))
