"""A machine beside the rig's node, in a network of its own: a PACS outside the cluster, with an address of its own.

Used by tests that care who a receiver sees. Only root inside the rig can make one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.kubernetes import eventually

NODE: Final = "198.18.0.1"
BALANCER: Final = "198.18.0.200"
"""An address that no interface has, as a load balancer's: packets for it go to the node's kube-proxy."""
_ADDRESS: Final = "198.18.0.77"
_CABLE: Final = ("outside0", "outside1")  # its end at the node's bridge, and its own


@dataclass(frozen=True)
class Outside:
    """`within` is the command that runs another one there."""

    address: str
    within: tuple[str, ...]


@contextmanager
def outside() -> Iterator[Outside]:
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
    try:
        theirs, ours = (Path(f"/proc/{pid}/ns/net") for pid in (holder.pid, "self"))
        eventually("the network is there", lambda: theirs.readlink() != ours.readlink())
        machine = Outside(_ADDRESS, ("nsenter", f"--net={theirs}", "--"))
        subprocess.run(["ip", "link", "delete", _CABLE[0]], capture_output=True, check=False)  # of a killed run
        _ip("link", "add", _CABLE[0], "type", "veth", "peer", "name", _CABLE[1], "netns", str(holder.pid))
        _ip("link", "set", _CABLE[0], "master", "node0", "up")
        _ip("address", "add", f"{_ADDRESS}/24", "dev", _CABLE[1], within=machine.within)
        for device in ("lo", _CABLE[1]):
            _ip("link", "set", device, "up", within=machine.within)
        _ip("route", "add", BALANCER, "via", NODE, within=machine.within)
        yield machine
    finally:
        holder.kill()  # the network, and the cable with it, go when nothing runs in it any more
        holder.wait()


def _ip(*arguments: str, within: tuple[str, ...] = ()) -> None:
    done = subprocess.run([*within, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
