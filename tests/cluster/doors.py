"""How a test reaches a Service: at its own name inside `make cluster`'s box, elsewhere through `kubectl port-forward`.

Used by the installations of this folder, which ask for the door each time: one that fell shut, because the pod behind
it went away, is opened again.
"""

from __future__ import annotations

import atexit
import re
import subprocess
from typing import Final

from tests.cluster.kubernetes import inside_the_rig

_OPEN: Final = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+)")
_doors: dict[tuple[str, str, int], tuple[subprocess.Popen[bytes], str]] = {}


def door(service: str, namespace: str, port: int) -> str:
    """`host:port` at which this process reaches the Service."""
    if inside_the_rig():
        return f"{service}.{namespace}.svc:{port}"
    known = _doors.get((service, namespace, port))
    if known is not None and known[0].poll() is None:
        return known[1]
    forwarding, address = _opened(service, namespace, port)
    _doors[service, namespace, port] = forwarding, address
    return address


def _opened(service: str, namespace: str, port: int) -> tuple[subprocess.Popen[bytes], str]:
    forwarding = subprocess.Popen(
        ["kubectl", "port-forward", "-n", namespace, f"service/{service}", f":{port}", "--address=127.0.0.1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    atexit.register(forwarding.kill)
    assert forwarding.stdout is not None
    said = forwarding.stdout.readline()
    found = _OPEN.match(said)
    assert found, f"kubectl port-forward service/{service}: {said.decode(errors='replace')}"
    return forwarding, f"127.0.0.1:{int(found[1])}"
