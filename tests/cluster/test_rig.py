"""The rig is a Kubernetes that one can rely on, and our images are what they should be in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from adit.model.outcome import EXIT_CONTRACT_MISMATCH
from tests.cluster.kubernetes import RIG, KubectlError, Kubernetes, eventually, restricted_pod, rig

BASE = "localhost/base:bookworm"
OURS = ("adit-worker", "adit-receiver", "adit-operator", "adit-api")
LOOK = """
import importlib.util, json, os, pathlib, shutil, sys, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
sources = [path for path in site.rglob("*.py")]
compiled = [pathlib.Path(importlib.util.cache_from_source(path)) for path in sources]
try:
    pathlib.Path("/here").touch()
    writable = True
except OSError:
    writable = False
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "writable": writable,
    "tools": [name for name in ("pip", "pip3", "gcc", "cc", "make", "uv") if shutil.which(name)],
    "modules": [name for name in ("pip", "setuptools", "ensurepip", "hatchling") if importlib.util.find_spec(name)],
    "wheels": [str(path) for root in (site, pathlib.Path("/usr/share")) for path in root.rglob("*.whl")],
    "packages": sorted(path.name for path in site.glob("adit*") if not path.suffix),
    "python": sys.executable,
    "sources": len(sources),
    # bytes 4 to 8 of bytecode: 1 = by hash, not checked against the source
    "compiled": sum(path.exists() and path.read_bytes()[4:8] == bytes([1, 0, 0, 0]) for path in compiled),
    "slow standard library": [name for name in ("json", "logging", "ssl", "socket")
        if not pathlib.Path(importlib.util.cache_from_source(importlib.util.find_spec(name).origin)).exists()],
}))
"""


def test_a_pod_finds_services_by_name(kubernetes: Kubernetes, namespace: str) -> None:
    ask = "import socket; print(socket.gethostbyname('kubernetes.default'))"
    kubernetes.apply(
        restricted_pod("asks", namespace, BASE, ["python3", "-c", ask], securityContext={"runAsUser": 1000})
    )
    assert kubernetes.ended("asks", namespace)["phase"] == "Succeeded"
    assert kubernetes.logs("asks", namespace).strip() == "10.96.0.1"


def test_the_worker_refuses_a_start_by_hand(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.apply(restricted_pod("worker", namespace, kubernetes.image("adit-worker")))
    container = kubernetes.ended("worker", namespace)["containerStatuses"][0]
    assert container["state"]["terminated"]["exitCode"] == EXIT_CONTRACT_MISMATCH
    assert "ADIT_ATTEMPT" in kubernetes.logs("worker", namespace)


@pytest.mark.parametrize("name", OURS)
def test_an_image_holds_what_it_needs_and_no_more(kubernetes: Kubernetes, namespace: str, name: str) -> None:
    kubernetes.apply(restricted_pod("looks", namespace, kubernetes.image(name), ["python3", "-c", LOOK]))
    assert kubernetes.ended("looks", namespace)["phase"] == "Succeeded", kubernetes.logs("looks", namespace)
    seen = json.loads(kubernetes.logs("looks", namespace))
    assert seen["user"] == [10001, 10001]
    assert not seen["writable"]
    assert seen["tools"] == seen["modules"] == seen["wheels"] == seen["slow standard library"] == []
    assert seen["packages"] == ["adit", name.replace("-", "_")]
    assert seen["sources"] == seen["compiled"] > 100


@pytest.mark.parametrize(
    ("name", "megabytes"), [("adit-worker", 250), ("adit-receiver", 250), ("adit-operator", 300), ("adit-api", 350)]
)
def test_an_image_stays_small(kubernetes: Kubernetes, name: str, megabytes: int) -> None:
    added = rig("size", kubernetes.image(name))
    print(name, added)
    assert int(added.split()[0]) <= megabytes


@pytest.fixture
def started_again() -> Iterator[list[str]]:
    """Programs that a test killed, up again for the next one whatever happened."""
    killed: list[str] = []
    yield killed
    for program in killed:
        rig("start", program)


def test_the_kubelet_dies_and_comes_back(kubernetes: Kubernetes, namespace: str, started_again: list[str]) -> None:
    started_again.append("kubelet")
    rig("kill", "kubelet")
    kubernetes.apply(restricted_pod("later", namespace, BASE, ["true"], securityContext={"runAsUser": 1000}))
    eventually(
        "the scheduler has chosen the node",
        lambda: (kubernetes.get("pod", "later", namespace) or {})["spec"].get("nodeName"),
    )
    assert (kubernetes.get("pod", "later", namespace) or {})["status"]["phase"] == "Pending"
    rig("start", "kubelet")
    assert kubernetes.ended("later", namespace)["phase"] == "Succeeded"


def test_the_api_server_dies_and_pods_live_on(kubernetes: Kubernetes, namespace: str, started_again: list[str]) -> None:
    wait = ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done"]
    kubernetes.apply(restricted_pod("lives", namespace, BASE, wait, securityContext={"runAsUser": 1000}))
    kubernetes.kubectl("wait", "pod/lives", "-n", namespace, "--for=condition=Ready", "--timeout=240s")
    started_again.append("kube-apiserver")
    rig("kill", "kube-apiserver")
    with pytest.raises(KubectlError):
        kubernetes.get("pod", "lives", namespace)
    rig("start", "kube-apiserver")
    kubernetes.kubectl("exec", "lives", "-n", namespace, "--", "touch", "/tmp/go")
    status = kubernetes.ended("lives", namespace)
    assert status["phase"] == "Succeeded"
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_a_program_that_ends_by_itself_is_started_again() -> None:
    state = Path(os.environ.get("ADIT_CLUSTER_STATE", "/var/tmp/adit-cluster"))
    before = (state / "coredns.pid").read_text()
    os.kill(int(before), 9)

    def back() -> bool:
        pid = state / "coredns.pid"
        return pid.exists() and pid.read_text() != before

    eventually("CoreDNS runs again", back)
    rig("start", "coredns")


def _offered(kubernetes: Kubernetes, volume: str) -> bool:
    return "Available" in kubernetes.kubectl("get", "persistentvolume", volume)


def test_a_volume_that_is_given_back_is_empty_for_the_next(kubernetes: Kubernetes, namespace: str) -> None:
    for turn in ("first", "second"):
        kubernetes.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": turn, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        )
        mounts = [{"name": "data", "mountPath": "/data"}]
        write = ["sh", "-c", 'test -z "$(ls -A /data)" && echo mine > /data/file']
        pod = restricted_pod(turn, namespace, BASE, write, volumeMounts=mounts, securityContext={"runAsUser": 1000})
        pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": turn}}]
        kubernetes.apply(pod)
        assert kubernetes.ended(turn, namespace)["phase"] == "Succeeded"
        volume = (kubernetes.get("persistentvolumeclaim", turn, namespace) or {})["spec"]["volumeName"]
        kubernetes.kubectl("delete", f"pod/{turn}", f"persistentvolumeclaim/{turn}", "-n", namespace)
        eventually(f"{volume} is offered again", partial(_offered, kubernetes, volume))


def test_the_page_about_the_rig_can_be_followed() -> None:
    """Each command that the page shows for `rig/cluster` works; those of make are run by CI itself."""
    page = (RIG.parent.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (tests/cluster/rig/cluster (?:\S+ ?)*?)(?:  +#.*)?$", page, re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        if command.split()[1] in ("up", "down", "shell", "images"):
            continue
        done = subprocess.run(["bash", "-c", command], cwd=RIG.parents[3], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
