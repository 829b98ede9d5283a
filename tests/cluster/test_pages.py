"""Someone who types what docs/kubernetes.md and docs/operations.md say, one page after the other, on the real cluster.

Only names are others, so that nobody's namespace `adit` is touched: that of the namespace, of the images' registry
and of the Postgres that the reader is supposed to have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cluster.installation import ROOT
from tests.cluster.kubernetes import Document, Kubernetes, eventually, inside_the_rig, restricted_pod
from tests.cluster.values import VALUES
from tests.integration.docs.fenced import Block, blocks

CRDS_OF_EVERYBODY = "--take-ownership --force-conflicts"  # another test's release may have them

_OTHER_IMAGES = "" if inside_the_rig() else f"-f {VALUES} "  # the rig has those that the chart looks for by itself


@dataclass
class ClusterReader:
    """Follows pages in a folder that looks like the repository."""

    folder: Path
    namespace: str
    registry: str

    def prepare(self) -> None:
        (self.folder / "charts").symlink_to(ROOT / "charts")
        shutil.copytree(ROOT / "examples", self.folder / "examples")
        for name in ("kubernetes/namespace.yaml", "kustomize/hospital/kustomization.yaml"):
            file = self.folder / "examples" / name
            file.write_text(
                re.sub(r"\b(name|namespace): adit$", rf"\1: {self.namespace}", file.read_text(), flags=re.M)
            )

    def follow(self, page: Path) -> int:
        """How many commands it ran. Raises AssertionError where the page is wrong."""
        return sum(self._take(page, block) for block in blocks(page))

    def _take(self, page: Path, block: Block) -> int:
        if block.title and block.language in ("yaml", "text"):
            (self.folder / block.title).write_text(self._renamed(block.text))
        commands = list(block.commands())
        for command, shown in commands:
            out = self.run(self._renamed(command), f"{page.name}:{block.line}")
            assert not [line for line in shown.splitlines() if line.strip() not in out], f"{command}\n{out}"
        return len(commands)

    def run(self, command: str, place: str = "") -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{place}: $ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _renamed(self, text: str) -> str:
        for shown, real in (
            (r"-n adit\b", f"-n {self.namespace}"),
            (r"\bwith-postgres\b", f"{self.namespace}-b"),
            (r"\bcharts/adit ", f"charts/adit {_OTHER_IMAGES}{CRDS_OF_EVERYBODY} "),
            (r"registry\.example\.org/adit\b", self.registry),
            (r"db\.example\.org", f"db.{self.namespace}-db.svc"),
        ):
            text = re.sub(shown, real, text)
        return text


@pytest.fixture
def reader(kubernetes: Kubernetes, tmp_path: Path) -> Iterator[ClusterReader]:
    made = ClusterReader(tmp_path, f"pages-{uuid4().hex[:8]}", kubernetes.registry)
    made.prepare()
    yield made
    for end in ("", "-b", "-db"):
        kubernetes.kubectl("delete", "namespace", f"{made.namespace}{end}", "--wait=false", "--ignore-not-found")


def a_postgres_that_is_there(kubernetes: Kubernetes, namespace: str, image: str, sql: str) -> None:
    """In a namespace of its own, with what the page tells to run there."""
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    data = [
        {"name": "data", "mountPath": "/var/lib/postgresql"},
        {"name": "run", "mountPath": "/var/run/postgresql"},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    variables = {"POSTGRES_PASSWORD": "admin", "PGHOST": "/var/run/postgresql"}
    pod: Document = restricted_pod(
        "db",
        namespace,
        image,
        env=[{"name": key, "value": value} for key, value in variables.items()],
        volumeMounts=data,
        readinessProbe={
            "exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]},
            "periodSeconds": 1,
        },
    )
    pod["spec"]["securityContext"] |= {"runAsUser": 999, "fsGroup": 999}
    pod["spec"]["volumes"] = [{"name": each["name"], "emptyDir": {}} for each in data]
    pod["metadata"]["labels"] = {"app": "db"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db", "namespace": namespace},
        "spec": {"selector": {"app": "db"}, "ports": [{"port": 5432}]},
    }
    kubernetes.apply(pod, service)
    kubernetes.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/db", "--timeout=240s")
    for statement in filter(None, map(str.strip, sql.split(";"))):
        kubernetes.kubectl("exec", "-n", namespace, "db", "--", "psql", "-q", "-U", "postgres", "-c", statement)


@pytest.mark.timeout(900)
def test_the_pages_can_be_followed(kubernetes: Kubernetes, reader: ClusterReader) -> None:
    install, operate = ROOT / "docs" / "kubernetes.md", ROOT / "docs" / "operations.md"
    [roles] = [block.text for block in blocks(install) if block.language == "sql"]
    image = "localhost/postgres:18" if kubernetes.registry == "localhost" else "docker.io/library/postgres:18"
    password = "ALTER ROLE adit PASSWORD 'owner-secret'"  # which psql asks the reader for
    a_postgres_that_is_there(kubernetes, f"{reader.namespace}-db", image, f"{roles}; {password}")
    assert reader.follow(install) > 10

    before = reader.run(f"kubectl -n {reader.namespace} get transferjob first-studies -o yaml")
    assert "state: Success" in before
    assert reader.follow(operate) > 15

    # What the pages promise of back-up, restore, new passwords and uninstall:
    kept = reader.run(f"kubectl -n {reader.namespace} get transferjobs,secrets,persistentvolumeclaims -o name")
    assert {"transferjob.adit.dev/first-studies", "secret/adit-database"} <= set(kept.split())
    assert "persistentvolumeclaim/data-adit-postgres-0" in kept
    again = f"helm install adit charts/adit -n {reader.namespace} -f {VALUES} {CRDS_OF_EVERYBODY} --wait"
    reader.run(again)
    told = eventually(
        "the ledger remembers the first job",
        lambda: reader.run(
            f"kubectl -n {reader.namespace} exec adit-postgres-0 -- psql -U adit -Atc 'SELECT name FROM job'"
        ).split(),
    )
    assert told == ["first-studies"]
