"""What nobody caught, or a library warns of, is told without its words; and who dies leaves no memory behind."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "DOE^JANE"
LEFT = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % 2**64)  # bytes of a core; unlimited is -1
HAPPENINGS = (
    "warnings.warn(SECRET)",
    f"core, _ = resource.getrlimit(resource.RLIMIT_CORE); assert core == {LEFT}",
    "thread = threading.Thread(target=int, args=(SECRET,)); thread.start(); thread.join()",
    "class Bad:\n    def __del__(self): raise ValueError(SECRET)\nbad = Bad()\ndel bad",
    "raise ValueError(SECRET) from KeyError(SECRET)",
)
PROCESSES = {
    "worker": "from functools import partial; from adit_worker import log; from adit.discretion import be_discreet; "
    "be_discreet(partial(log.write, 'error'))",
    "operator": "from adit_operator import log; log.configure('info')",
    "receiver": "from adit_receiver import log; log.configure('info')",
    "api": "from adit_api import log; log.configure('info')",
}


def said(*statements: str) -> list[dict[str, object]]:
    """What a process that does this writes to standard error, each line an object; nothing of it a secret."""
    imports = "import resource, sys, threading, warnings; SECRET = sys.argv[1]"
    script = "\n".join((imports, *statements))
    done = subprocess.run([sys.executable, "-c", script, SECRET], capture_output=True, text=True, check=False)
    assert SECRET not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


@pytest.mark.parametrize("process", PROCESSES)
def test_what_nobody_caught(process: str) -> None:
    lines = said(PROCESSES[process], *HAPPENINGS)
    assert [line["event"] for line in lines] == ["a thread failed", "not raised", "not caught"]
    assert all(line["error"] == "ValueError" and line["at"] is not None for line in lines)


def test_who_may_leave_no_core_as_it_is() -> None:
    """Many systems give this limit, which only root may raise."""
    none = "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    still = "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)"
    assert said(none, PROCESSES["worker"], still) == []


@pytest.mark.parametrize("process", ["operator", "receiver"])
def test_what_was_caught_and_logged(process: str) -> None:
    caught = "try:\n    int(SECRET)\nexcept ValueError:\n    structlog.get_logger().exception('it failed')"
    [line] = said("import structlog", PROCESSES[process], caught)
    assert (line["event"], line["error"], line["at"]) == ("it failed", "ValueError", ["<string>:5 <module>"])


def test_what_a_library_of_the_operator_logs() -> None:
    """kopf does so with what our handlers raise, and with the resource at hand."""
    caught = "try:\n    int(SECRET)\nexcept ValueError:\n    logging.getLogger('kopf').exception('a handler failed')"
    [line] = said("import logging", PROCESSES["operator"], caught)
    assert (line["event"], line["error"]) == ("a handler failed", "ValueError")


def test_the_dispatchers_log(tmp_path: Path) -> None:
    lines = (
        "import structlog; from pathlib import Path; from adit.cli.log import log_to_file",
        f"with log_to_file(Path({str(tmp_path)!r})):",
        "    try:\n        int(SECRET)\n    except ValueError:\n        structlog.get_logger().exception('it failed')",
    )
    assert said(*lines) == []
    written = (tmp_path / "dispatcher.log").read_text()
    assert SECRET not in written
    assert "error=ValueError" in written


def test_a_defect_of_the_command_line() -> None:
    """And a warning of pydicom's before it."""
    script = (
        "import sys, warnings; from adit.cli import main\n"
        "def app():\n    warnings.warn(sys.argv[1])\n    raise ValueError(sys.argv[1])\n"
        "main.app = app\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", script, SECRET], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert "ValueError" in done.stderr
    assert "<string>:4 app" in done.stderr.replace("\n", " ")
