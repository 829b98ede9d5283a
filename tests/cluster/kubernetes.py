"""A real Kubernetes, spoken to by kubectl. Used by the tests of this folder through the fixtures of conftest.py."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

RIG: Final = Path(__file__).parent / "rig" / "cluster"
Document = dict[str, Any]
_Found = TypeVar("_Found")
# How much slower than the one that the tests' limits were written on a machine may be.
PATIENCE: Final = 4


def inside_the_rig() -> bool:
    """Whether this process runs in `make cluster`'s own network (`rig/cluster in …`)."""
    return os.environ.get("ADIT_CLUSTER_INSIDE") == "1"


def is_there() -> bool:
    """Whether there is a cluster that may be used for tests."""
    return inside_the_rig() or bool(os.environ.get("KUBECONFIG") and os.environ.get("ADIT_TEST_IMAGES"))


def eventually(what: str, found: Callable[[], _Found | None], within: float = 30.0) -> _Found:
    """What `found` returns as soon as it is true; AssertionError saying `what` was waited for, if it never is."""
    within *= PATIENCE
    deadline = time.monotonic() + within
    while True:
        result = found()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain until {what}")
        time.sleep(0.1)


class KubectlError(AssertionError):
    """kubectl failed; the message is its own."""


@dataclass(frozen=True)
class Kubernetes:
    """`registry` and `tag` say where our images are."""

    registry: str = field(default_factory=lambda: os.environ.get("ADIT_TEST_IMAGES", "localhost"))
    tag: str = field(default_factory=lambda: os.environ.get("ADIT_TEST_TAG", "dev"))

    def image(self, name: str) -> str:
        """Of one of our own images: `adit-worker`, `adit-receiver`, `adit-operator`, `adit-api`."""
        return f"{self.registry}/{name}:{self.tag}"

    def kubectl(self, *arguments: str, document: object = None, timeout: float = 300.0) -> str:
        """Its standard output; `document` is its standard input. Raises KubectlError."""
        done = subprocess.run(
            ["kubectl", *arguments],
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *documents: Document) -> None:
        self.kubectl("apply", "-f", "-", document={"apiVersion": "v1", "kind": "List", "items": list(documents)})

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Document]:
        found = json.loads(self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))
        items: list[Document] = found["items"]
        return items

    def get(self, kind: str, name: str, namespace: str) -> Document | None:
        """The object, or None where it is not there."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def ended(self, pod: str, namespace: str, within: float = 60.0) -> Document:
        """The pod's status once it succeeded or failed."""

        def status() -> Document | None:
            found = self.get("pod", pod, namespace)
            return found["status"] if found and found["status"].get("phase") in ("Succeeded", "Failed") else None

        return eventually(f"pod {pod} has ended", status, within)

    def logs(self, target: str, namespace: str, *arguments: str) -> str:
        return self.kubectl("logs", target, "-n", namespace, *arguments)


def rig(*arguments: str) -> str:
    """`rig/cluster ARGUMENT…`, such as `kill kubelet`; for tests that need `make cluster`'s own."""
    done = subprocess.run([str(RIG), *arguments], capture_output=True, text=True, timeout=480, check=False)
    assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def restricted_pod(
    name: str, namespace: str, image: str, command: list[str] | None = None, **container: Any
) -> Document:
    """A pod that runs once and that `restricted` Pod Security lets in; `container` adds to its container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [
                {
                    "name": "it",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    **({"command": command} if command else {}),
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    **container,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                        **container.get("securityContext", {}),
                    },
                }
            ],
        },
    }
