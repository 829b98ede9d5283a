"""How fast a worker starts from its image's own files: its interpreter, its byte code, its codecs.

`python -m benchmarks start` measures the same in the virtual environment. The image is mounted beside the node's pods
and entered by chroot: a container's start is no part of this, and no operator looks at the ledger.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import make_url

from benchmarks.cluster.stage import Stage
from benchmarks.result import Result
from benchmarks.rig import bench, node
from benchmarks.worker_start import ROUNDS, SECONDS, run, silent, start
from tests.cluster.installation import ROOT
from tests.cluster.kubernetes import Kubernetes, rig
from tests.peers.orthanc import Orthanc

_FROM_THE_NODE = ("/proc", "/dev")


def measure(stage: Stage) -> Iterator[Result]:
    """Medians of seven rounds in turn; a first one, which fills the caches, does not count.

    The goal is in seconds: a bare interpreter that starts in 12 ms is no measure for one that imports pydicom.
    """
    del stage  # its release is not needed
    with (
        tempfile.TemporaryDirectory(prefix="adit-bench-") as place,
        bench(Path(place)) as ledger,
        _entered(Path(str(make_url(ledger.worker_url).query["host"]))) as enter,
        Orthanc(Path(place), aet="DESTINATION") as destination,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        listener.settimeout(120)
        ledger.apply(node("destination", destination), silent(listener))
        variables = _variables()
        python = (*enter, "/usr/bin/env", "python3")
        rounds = [
            (
                run([*python, "-c", "pass"], variables).wall,
                start(ledger, listener, number, [*python, "-m", "adit_worker"], variables),
            )
            for number in range(ROUNDS + 1)
        ][1:]
    bare, ours = (median(each[part] for each in rounds) for part in (0, 1))
    yield Result(
        name="worker-image-exec-to-first-dimse-byte",
        ours=ours,
        anchor=bare,
        unit="s",
        goal=f"<= {SECONDS} s",
        holds=ours <= SECONDS,
        anchor_is="python3 -c pass, from the same image",
    )


@contextmanager
def _entered(sockets: Path) -> Iterator[tuple[str, ...]]:
    """The command that runs another one in the image, where the ledger's `sockets` are under their own name."""
    with tempfile.TemporaryDirectory(prefix="adit-image-") as folder, ExitStack() as undone:
        root = Path(folder)
        rig("ctr", "images", "mount", "--rw", Kubernetes().image("adit-worker"), str(root))
        undone.callback(rig, "ctr", "images", "unmount", "--rm", str(root))
        for each in (*_FROM_THE_NODE, str(sockets)):
            inside = root / each.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--rbind", each, str(inside)], check=True)
            undone.callback(subprocess.run, ["umount", "--lazy", str(inside)], check=True)
        yield (shutil.which("chroot") or "chroot", str(root))


def _variables() -> Mapping[str, str]:
    """What the image sets, as its Dockerfile says."""
    [line] = re.findall(r"^ENV (PATH=.*)$", (ROOT / "images/worker/Dockerfile").read_text(), re.MULTILINE)
    found = dict(each.split("=", 1) for each in line.split())
    return {**found, "PATH": found["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")}
