"""kopf as we set it up: it reads what is ours in the words that we chose, passes it on, and writes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import kopf
import pytest
import structlog
import yaml

from adit_operator.intake import Intake
from adit_operator.job_manifest import SELECTOR, is_selected, manifest
from adit_operator.kubernetes_api import JOBS, OURS, PODS, Kind, Object
from adit_operator.kubernetes_launcher import KubernetesLauncher
from adit_operator.watch import settings, watch
from tests.unit.operator.api_server import ApiServer, Asked
from tests.unit.operator.claims import NOW, SETTINGS, claim

ENOUGH = 15.0  # seconds, to fail rather than hang


@dataclass
class Taken:
    """What the intake and the launcher were given, and when that is all."""

    expected: int
    names: list[str] = field(default_factory=list)
    all_there: threading.Event = field(default_factory=threading.Event)

    def take(self, kind: Kind, body: Object) -> None:
        self._add(body)

    def job_changed(self, body: Object) -> None:
        self._add(body)

    def pod_failed(self, body: Object) -> None:
        self._add(body)

    def _add(self, body: Object) -> None:
        self.names.append(body["metadata"]["name"])
        if len(self.names) >= self.expected:
            self.all_there.set()


def job(name: str, labels: dict[str, str] | None = None) -> Object:
    made = manifest(claim(), SETTINGS, NOW)
    metadata = made["metadata"] | {"name": name, "uid": name, "resourceVersion": "1"}
    return made | {"metadata": metadata if labels is None else metadata | {"labels": labels}}


def strangers() -> list[Object]:
    """Somebody else's, and what else the operator's chart and worker pods might be labelled."""
    return [
        job("unlabelled", {}),
        job("cron", {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/component": "worker"}),
        job("migration", {"app.kubernetes.io/managed-by": "adit-operator", "app.kubernetes.io/component": "migration"}),
    ]


def pod(name: str, phase: str, labels: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": "research", "uid": name, "resourceVersion": "1", "labels": labels}
    return {"metadata": metadata, "status": {"phase": phase}}


def served(*, filters: bool) -> ApiServer:
    """One of each of our kinds, one Job of ours with its failed pod, and others'; all as if found at kopf's start."""
    server = ApiServer(filters=filters)
    for kind in OURS:
        server.objects[kind.plural].append(
            {"metadata": {"name": kind.name, "namespace": "research", "uid": str(UUID(int=1)), "resourceVersion": "1"}}
        )
    server.objects["jobs"] = [*strangers(), job("ours")]
    own = server.objects["jobs"][-1]["metadata"]["labels"]
    server.objects["pods"] = [
        pod("failed", "Failed", own), pod("at-work", "Running", own), pod("somebodys", "Failed", {"app": "mine"})
    ]  # fmt: skip
    return server


def run(server: ApiServer, taken: Taken, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all is taken and each kind is watched."""
    kubeconfig = {
        "clusters": [{"name": "a", "cluster": {"server": server.url}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {"token": "none"}}],
        "current-context": "a",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))

    async def until_watched() -> None:
        stop = asyncio.Event()
        watching = asyncio.create_task(
            watch(cast(Intake, taken), cast(KubernetesLauncher, taken), None, identity="operator-0", stop=stop)
        )
        while not (taken.all_there.is_set() and len(watches(server)) == len(OURS) + 2):
            await asyncio.sleep(0.02)
        stop.set()
        await watching

    asyncio.run(asyncio.wait_for(until_watched(), ENOUGH))


def watches(server: ApiServer) -> list[Asked]:
    return [each for each in server.asked if each.is_watch]


def lists(server: ApiServer) -> list[Asked]:
    return [each for each in server.asked if "limit" in each.query]


def test_it_passes_on_what_is_ours_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(len(OURS) + 2)
    with served(filters=True) as server, structlog.testing.capture_logs() as logs:
        run(server, taken, tmp_path, monkeypatch)
    assert sorted(taken.names) == sorted([*(kind.name for kind in OURS), "ours", "failed"])
    assert {each.method for each in server.asked} == {"GET"}  # no finalizer, annotation, status, Event or peer
    kinds = sorted(kind.plural for kind in (*OURS, JOBS, PODS))
    assert sorted(each.plural for each in lists(server)) == kinds
    assert sorted(each.plural for each in watches(server)) == kinds  # no CRDs or namespaces
    assert {each.query["limit"] for each in lists(server)} == {"500"}
    assert {each.query["timeoutSeconds"] for each in watches(server)} == {"600"}
    for each in (*lists(server), *watches(server)):
        assert each.query.get("labelSelector") == (SELECTOR if each.plural in ("jobs", "pods") else None)
        assert each.query.get("fieldSelector") == ("status.phase=Failed" if each.plural == "pods" else None)
    assert logs == []


def test_jobs_of_others_that_come_all_the_same_are_left_alone_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(len(OURS) + 2)
    with served(filters=False) as server, structlog.testing.capture_logs() as logs:
        run(server, taken, tmp_path, monkeypatch)
    assert sorted(taken.names) == sorted([*(kind.name for kind in OURS), "ours", "failed"])
    assert [(each["log_level"], each["selector"]) for each in logs] == [("error", SELECTOR)]


def test_the_selector_is_for_jobs_and_pods_only_and_selects_ours() -> None:
    selectors = settings().watching.label_selectors
    for kind in (JOBS, PODS):
        assert selectors.collect(_resource(kind)) == [SELECTOR]
    for other in (*OURS, Kind("batch", "v1", "cronjobs", "CronJob"), Kind("jobs.example", "v1", "jobs", "Job")):
        assert selectors.collect(_resource(other)) == [], other
    ours = manifest(claim(), SETTINGS, NOW)
    wanted = dict(each.split("=") for each in SELECTOR.split(","))
    for labels in (ours["metadata"]["labels"], ours["spec"]["template"]["metadata"]["labels"]):
        assert wanted.items() <= labels.items()
    assert is_selected(ours)
    for stranger in (*strangers(), {"metadata": {}}, {"metadata": {"labels": None}}):
        assert not is_selected(stranger)


@pytest.mark.parametrize(
    ("chosen", "value"),
    [
        (lambda kopfs: kopfs.posting.enabled, False),
        (lambda kopfs: kopfs.scanning.disabled, True),
        (lambda kopfs: kopfs.peering.standalone, True),
        (lambda kopfs: kopfs.watching.chunk_size, 500),
        (lambda kopfs: kopfs.watching.server_timeout, 600),
        (lambda kopfs: kopfs.watching.client_timeout, 660),
        (lambda kopfs: kopfs.watching.connect_timeout, 10),
        (lambda kopfs: kopfs.networking.request_timeout, 30),
        (lambda kopfs: kopfs.networking.connect_timeout, 10),
        (lambda kopfs: kopfs.queueing.idle_timeout, 0.5),
        (lambda kopfs: kopfs.queueing.worker_limit, None),
        (lambda kopfs: kopfs.persistence.finalizer, "adit.dev/unused"),
        (lambda kopfs: kopfs.persistence.progress_storage.prefix, "adit.dev"),
        (lambda kopfs: kopfs.persistence.diffbase_storage.prefix, "adit.dev"),
    ],
)
def test_each_of_kopfs_settings_that_we_decided(chosen: Callable[[kopf.OperatorSettings], Any], value: object) -> None:
    assert chosen(settings()) == value


def _resource(kind: Kind) -> kopf.Resource:
    return kopf.Resource(
        group=kind.group, version=kind.version, plural=kind.plural, kind=kind.name, singular=kind.name.lower()
    )
