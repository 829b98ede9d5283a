"""The chart on a real cluster, under `restricted` Pod Security: install, test, upgrade, uninstall, with both helms."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.doors import door
from tests.cluster.installation import ROOT
from tests.cluster.kubernetes import Document, Kubernetes, eventually
from tests.cluster.test_pages import a_postgres_that_is_there
from tests.cluster.values import VALUES
from tests.peers.helm import CHART, Helm, helm
from tests.peers.orthanc import OrthancRest

EXAMPLE = ROOT / "examples" / "kubernetes" / "transferjob.yaml"
SANDBOX = {"sandbox": {"enabled": True}}
CT = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
pytestmark = pytest.mark.timeout(600)


@dataclass
class Release:
    kubernetes: Kubernetes
    namespace: str
    helm: Helm

    def set_up(self, values: dict[str, Any], *arguments: str) -> str:
        """Installs or upgrades and returns when Helm says that everything is ready. AssertionError if it does not."""
        done = self.try_to_set_up(values, *arguments)
        assert done[0] == 0, f"{done[1]}\n{self.look('get', 'pods,jobs')}"
        return done[1]

    def try_to_set_up(self, values: dict[str, Any], *arguments: str) -> tuple[int, str]:
        done = self.helm.run(
            "upgrade", "--install", "adit", str(CHART), "-n", self.namespace, "-f", str(VALUES), "-f", "-",
            "--wait", "--timeout=480s", *arguments,
            stdin=yaml.safe_dump(values),
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def uninstall(self) -> None:
        done = self.helm.run("uninstall", "adit", "-n", self.namespace, "--wait", "--timeout=480s")
        assert done.returncode == 0, done.stderr

    def look(self, *arguments: str) -> str:
        return self.kubernetes.kubectl("-n", self.namespace, *arguments)

    def get(self, kind: str, name: str) -> Document | None:
        return self.kubernetes.get(kind, name, self.namespace)

    def orthanc(self, end: str) -> OrthancRest:
        return OrthancRest(f"http://{door(f'adit-sandbox-{end}', self.namespace, 8042)}")

    def has_arrived(self, study: str) -> None:
        """By the destination's own word, not by ours."""
        there = self.orthanc("research").instances_of(study)
        assert there
        assert there == self.orthanc("pacs").instances_of(study)

    def ask_the_ledger(self, statement: str) -> list[str]:
        return self.look("exec", "adit-postgres-0", "--", "psql", "-U", "adit", "-Atc", statement).split()


@pytest.fixture
def release(request: pytest.FixtureRequest, kubernetes: Kubernetes, namespace: str) -> Iterator[Release]:
    made = Release(kubernetes, namespace, helm(request.param))
    yield made
    made.helm.run("uninstall", "adit", "-n", namespace, "--ignore-not-found")


def hospital(folder: Path, namespace: str) -> Path:
    """The example for Kustomize, with an overlay for the sandbox's addresses."""
    shutil.copytree(ROOT / "examples" / "kustomize" / "base", folder / "base")
    overlay = folder / "sandbox"
    overlay.mkdir()
    patches = []
    for name, end, title in (("source", "pacs", "PACS"), ("destination", "research", "RESEARCH")):
        address = {"aeTitle": title, "host": f"adit-sandbox-{end}.{namespace}.svc", "port": 4242}
        patch = [{"op": "replace", "path": "/spec/dimse", "value": address}]
        patches.append({"target": {"kind": "DicomNode", "name": name}, "patch": yaml.safe_dump(patch)})
    written = {"resources": ["../base"], "namespace": namespace, "patches": patches}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(written))
    return overlay


@pytest.fixture
def crds(kubernetes: Kubernetes) -> None:
    """Those of the working tree, however they came here; other releases of the session use them too."""
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kinds = ("dicomnodes.adit.dev", "transferjobs.adit.dev", "deidprofiles.adit.dev")
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", *kinds)


OTHERS_HAVE_THE_CRDS = {"crds": {"enabled": False}}


@pytest.mark.parametrize("release", ["helm", "helm3"], indirect=True)
@pytest.mark.usefixtures("crds")
def test_from_a_first_try_to_an_uninstall_and_back(release: Release, tmp_path: Path) -> None:
    values = SANDBOX | OTHERS_HAVE_THE_CRDS
    notes = release.set_up(values)
    assert f"helm test adit -n {release.namespace}" in notes
    pods = json.loads(release.look("get", "pods", "-l", "app.kubernetes.io/part-of=adit", "-o", "json"))["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} >= {
        "operator", "api", "postgres", "migration", "sandbox",
    }  # fmt: skip

    # `helm test` asks the Services, and the API server.
    tested = release.helm.run("test", "adit", "-n", release.namespace, "--logs", "--timeout=480s")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert len(re.findall(r"^ok ", tested.stdout, re.MULTILINE)) == 5

    # The first try of the pages.
    release.look("apply", "-f", str(EXAMPLE))
    release.look("wait", "--for=condition=Complete", "--timeout=240s", "transferjob/first-studies")
    for study in yaml.safe_load(EXAMPLE.read_text())["spec"]["selection"]["studies"]:
        release.has_arrived(study["studyInstanceUID"])

    # The same by Kustomize, with this hospital's addresses.
    release.orthanc("research").delete_all()
    release.look("apply", "-k", str(hospital(tmp_path, release.namespace)))
    release.look("wait", "--for=condition=Complete", "--timeout=240s", "transferjob/studies")
    release.has_arrived(CT)

    # No password is in Helm's record of the release.
    secret = release.get("secret", "adit-database")
    assert secret is not None
    assert_not_in_the_record(release, secret)

    # An upgrade for the workers rolls the operator, leaves the database alone, and keeps what is remembered.
    before = {kind: release.get(kind, name) for kind, name in (("pod", "adit-postgres-0"), ("secret", "adit-database"))}
    release.set_up(values | {"worker": {"maxRunning": 7}})
    after = {kind: release.get(kind, name) for kind, name in (("pod", "adit-postgres-0"), ("secret", "adit-database"))}
    for kind in before:
        assert _uid(before[kind]) == _uid(after[kind]), kind
    assert release.ask_the_ledger("SELECT name FROM job ORDER BY name") == ["first-studies", "studies"]

    # An uninstall leaves CRDs, resources, the volume and its passwords, and nothing that runs.
    release.uninstall()
    assert release.get("transferjob", "first-studies") is not None
    assert release.get("pvc", "data-adit-postgres-0") is not None
    assert release.get("secret", "adit-database") is not None
    for kind in ("deployment", "statefulset", "service", "role", "rolebinding", "networkpolicy", "pdb", "configmap"):
        left = release.look("get", kind, "-o", "name").split()
        assert [each for each in left if "kube-root-ca" not in each] == [], kind
    # The sandbox's nodes go with it, those that somebody applied stay.
    theirs = {f"dicomnode.adit.dev/{name}" for name in ("source", "destination")}
    eventually(
        "of the nodes only what others applied is left",
        lambda: set(release.look("get", "dicomnodes", "-o", "name").split()) == theirs,
    )

    # Installed again it goes on where it was.
    release.set_up(OTHERS_HAVE_THE_CRDS)
    assert release.ask_the_ledger("SELECT name FROM job ORDER BY name") == ["first-studies", "studies"]


def assert_not_in_the_record(release: Release, secret: Document) -> None:
    held = [base64.b64decode(value).decode() for value in secret["data"].values()]
    records = json.loads(release.look("get", "secrets", "-l", "owner=helm", "-o", "json"))["items"]
    assert records
    for record in records:
        text = gzip.decompress(base64.b64decode(base64.b64decode(record["data"]["release"]))).decode()
        assert not any(value in text for value in held)


def _uid(document: Document | None) -> str:
    assert document is not None
    return str(document["metadata"]["uid"])


@pytest.mark.parametrize("release", ["helm3"], indirect=True)  # the pages are followed with Helm 4
@pytest.mark.usefixtures("crds")
def test_with_a_postgres_that_is_there(release: Release, kubernetes: Kubernetes) -> None:
    """The owner is no superuser. What cannot be migrated is not upgraded, and the old version goes on."""
    server = f"{release.namespace}-db"
    image = "localhost/postgres:18" if kubernetes.registry == "localhost" else "docker.io/library/postgres:18"
    try:
        a_postgres_that_is_there(
            kubernetes, server, image,
            "CREATE ROLE adit LOGIN CREATEROLE PASSWORD 'mine'; CREATE DATABASE adit OWNER adit",
        )  # fmt: skip
        urls = {
            "database-url": f"postgresql://adit:mine@db.{server}.svc/adit",
            "worker-database-url": f"postgresql://adit_worker_login:yours@db.{server}.svc/adit",
        }
        kubernetes.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "mine", "namespace": release.namespace},
                "stringData": urls,
            }
        )
        values = SANDBOX | OTHERS_HAVE_THE_CRDS | {"database": {"existingSecret": "mine"}}
        release.set_up(values)
        assert release.look("get", "statefulsets", "-o", "name") == ""
        release.look("apply", "-f", str(EXAMPLE))
        release.look("wait", "--for=condition=Complete", "--timeout=240s", "transferjob/first-studies")

        def psql(statement: str) -> str:
            return kubernetes.kubectl(
                "exec", "-n", server, "db", "--", "psql", "-U", "postgres", "-d", "adit", "-Atc", statement
            )

        [revision] = psql("SELECT version_num FROM alembic_version").split()
        psql("UPDATE alembic_version SET version_num = '9999'")
        newer = values | {"operator": {"podLabels": {"new": "label"}}}
        code, told = release.try_to_set_up(newer, "--timeout=45s")  # in vain, however long it waits
        assert code != 0
        assert "pre-upgrade" in told
        assert '"new":"label"' not in release.look("get", "deployment", "adit-operator", "-o", "json")
        psql(f"UPDATE alembic_version SET version_num = '{revision}'")
        release.set_up(values)
    finally:
        kubernetes.kubectl("delete", "namespace", server, "--wait=false", "--ignore-not-found")


def test_crds_come_with_the_chart_are_upgraded_and_stay(kubernetes: Kubernetes, namespace: str) -> None:
    """Helm 4 takes them over from wherever they came; nothing else of the release need run for that."""
    program = helm()
    quiet = {"operator": {"replicas": 0}, "api": {"replicas": 0}}

    def set_up() -> None:
        done = program.run(
            "upgrade", "--install", "adit", str(CHART), "-n", namespace, "-f", str(VALUES), "-f", "-",
            "--take-ownership", "--force-conflicts", "--no-hooks",
            stdin=yaml.safe_dump(quiet),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def printed() -> set[str]:
        crd = json.loads(kubernetes.kubectl("get", "crd", "transferjobs.adit.dev", "-o", "json"))
        return {column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]}

    set_up()
    whole = printed()
    kubernetes.kubectl(
        "patch", "crd", "transferjobs.adit.dev", "--type=json",
        '-p=[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/0"}]',
    )  # fmt: skip
    assert printed() < whole
    set_up()
    assert printed() == whole
    done = program.run("uninstall", "adit", "-n", namespace, "--wait", "--timeout=480s")
    assert done.returncode == 0, done.stderr
    assert printed() == whole
