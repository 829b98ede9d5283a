"""Two releases that see one namespace, on a real API server: one serves it, the other leaves all in it alone."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from adit.ledger.ledger import Ledger
from adit_operator.cluster_events import ClusterEvents
from adit_operator.intake import Intake
from adit_operator.kubernetes_api import DICOM_NODES, JOBS, LEASES, TRANSFER_JOBS, ApiRefused, KubernetesApi
from adit_operator.kubernetes_launcher import KubernetesLauncher
from adit_operator.ownership import LEASE, SHORTEST_SECONDS, Ownership
from adit_operator.status_writer import StatusWriter
from tests.cluster.api_server.launching import FORBIDDEN, NOT_ALLOWED, owner
from tests.peers.control_plane import ControlPlane
from tests.peers.faulty_proxy import PASS, FaultyProxy, Reaction
from tests.peers.helm import CHART, helm
from tests.unit.model.specs import JOB, NODE
from tests.unit.operator.claims import SETTINGS, claim, running


@dataclass
class Scene:
    control_plane: ControlPlane
    proxy: FaultyProxy
    api: KubernetesApi
    namespace: str
    seconds: float = 0.0  # the time, which is the test's

    def release(self, name: str) -> Ownership:
        return Ownership(self.api, f"{name}/adit-operator", monotonic=lambda: self.seconds)

    def holder(self) -> str:
        lease = self.api.read(LEASES, self.namespace, LEASE)
        return "" if lease is None else lease["spec"]["holderIdentity"]

    def create(self, kind: Any, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec}
        return self.api.create(kind, self.namespace, body)

    def create_all(self) -> dict[str, Any]:
        for name in ("pacs", "research"):
            self.create(DICOM_NODES, name, NODE)
        return self.create(TRANSFER_JOBS, "ct", JOB)

    def conditions(self, kind: str, name: str) -> list[Any]:
        found = json.loads(self.control_plane.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return list((found.get("status") or {}).get("conditions") or ())


@pytest.fixture
def scene(control_plane: ControlPlane, proxy: FaultyProxy, proxied: KubernetesApi, namespace: str) -> Scene:
    return Scene(control_plane, proxy, proxied, namespace)


@dataclass
class Operator:
    """One release's parts, each moved by hand."""

    scene: Scene
    ledger: Ledger
    name: str
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.ownership = self.scene.release(self.name)
        self.writer = StatusWriter(self.ledger, self.scene.api, ClusterEvents(self.scene.api, self.name))
        self.intake = Intake(self.ledger, self.writer, clock=lambda: datetime.now(UTC), ownership=self.ownership)
        self.launcher = KubernetesLauncher(
            self.scene.api,
            SETTINGS,
            [self.scene.namespace],
            clock=lambda: datetime.now(UTC),
            monotonic=lambda: self.scene.seconds,
            ownership=self.ownership,
        )

    def sweep(self) -> None:
        self.intake.sweep(self.scene.api, [self.scene.namespace])
        self.writer.write_due(datetime.now(UTC))


def test_the_first_release_has_it_and_a_restart_of_it_too(scene: Scene) -> None:
    first, second = scene.release("first"), scene.release("second")
    assert first.owns(scene.namespace)
    assert not second.owns(scene.namespace)
    assert second.others() == {scene.namespace}
    assert scene.release("first").owns(scene.namespace)  # whatever became of its ledger
    assert scene.holder() == "first/adit-operator"


def test_of_many_that_reach_for_it_at_once_one_gets_it(scene: Scene) -> None:
    releases = [scene.release(f"release-{number}") for number in range(6)]
    together = threading.Barrier(len(releases))
    winners: list[Ownership] = []

    def reach(each: Ownership) -> None:
        together.wait()
        if each.owns(scene.namespace):
            winners.append(each)

    threads = [threading.Thread(target=reach, args=(each,)) for each in releases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


def test_one_that_helm_has_made_and_nobody_has_claimed_is_free(scene: Scene) -> None:
    document = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": {"name": LEASE}}
    scene.api.create(LEASES, scene.namespace, document)
    assert scene.release("first").owns(scene.namespace)
    assert scene.holder() == "first/adit-operator"


def test_what_is_uninstalled_is_taken_over_with_the_next_sweep(scene: Scene) -> None:
    scene.release("first").owns(scene.namespace)
    second = scene.release("second")
    assert not second.owns(scene.namespace)
    scene.api.delete(LEASES, scene.namespace, LEASE)
    second.renew(())
    assert second.is_ours(scene.namespace)


def test_a_mark_that_nobody_renews_is_taken_over_after_a_while(scene: Scene) -> None:
    first, second = scene.release("first"), scene.release("second")
    first.owns(scene.namespace)
    second.renew([scene.namespace])
    scene.seconds = SHORTEST_SECONDS - 1
    first.renew(())
    second.renew(())
    scene.seconds += SHORTEST_SECONDS - 1
    second.renew(())
    assert not second.is_ours(scene.namespace)
    scene.seconds += 1
    second.renew(())
    assert second.is_ours(scene.namespace)
    first.renew(())  # it comes back, too late
    assert first.others() == {scene.namespace}


def test_while_the_api_server_is_silent_what_was_known_stays(scene: Scene) -> None:
    first = scene.release("first")
    scene.proxy.react = lambda method, path: Reaction(answer=500) if LEASE in path else PASS
    with pytest.raises(ApiRefused):
        first.owns(scene.namespace)
    scene.proxy.react = lambda method, path: PASS
    first.renew([scene.namespace])
    scene.proxy.react = lambda method, path: Reaction(answer=500) if LEASE in path else PASS
    first.renew(())
    assert first.is_ours(scene.namespace)


def test_a_namespace_that_may_not_be_claimed_is_left_alone_until_it_may(scene: Scene) -> None:
    def react(method: str, path: str) -> Reaction:
        return FORBIDDEN if LEASE in path else NOT_ALLOWED if "selfsubjectaccessreviews" in path else PASS

    scene.proxy.react = react
    first = scene.release("first")
    assert not first.owns(scene.namespace)
    scene.proxy.react = lambda method, path: PASS
    first.renew(())
    assert first.is_ours(scene.namespace)


def test_a_namespace_that_went_away_is_forgotten(scene: Scene) -> None:
    first = scene.release("first")
    assert not first.owns("never-made")
    assert first.others() == frozenset()


def test_a_second_operator_leaves_jobs_and_their_statuses_alone_until_it_is_its_turn(
    scene: Scene, ledger: Ledger
) -> None:
    """The first is away for a moment: what it would tell, nobody else tells."""
    scene.release("first").owns(scene.namespace)
    job = scene.create_all()
    second = Operator(scene, ledger, "second")
    second.intake.take(TRANSFER_JOBS, job)
    second.sweep()
    assert ledger.live_jobs() == {}
    assert ledger.nodes() == []
    assert scene.conditions("transferjob", "ct") == scene.conditions("dicomnode", "pacs") == []

    scene.api.delete(LEASES, scene.namespace, LEASE)
    second.sweep()
    assert list(ledger.live_jobs()) == [UUID(job["metadata"]["uid"])]
    assert scene.conditions("dicomnode", "pacs")

    # And when another takes it from there, nothing more is written or started, and nothing counts as gone.
    scene.api.delete(LEASES, scene.namespace, LEASE)
    scene.release("third").owns(scene.namespace)
    second.sweep()
    assert second.writer.open == 0
    assert len(ledger.live_jobs()) == 1
    assert second.launcher.closed() == {scene.namespace}


def test_a_second_operator_ends_no_job_of_the_first(scene: Scene, ledger: Ledger) -> None:
    """Neither by its list, though its ledger knows of none, nor for what the watch shows it."""
    first, second = Operator(scene, ledger, "first"), Operator(scene, ledger, "second")
    first.sweep()
    second.sweep()
    first.launcher.launch(claim(**owner(scene.api, scene.namespace), token=uuid4()))
    [job] = scene.api.list(JOBS, scene.namespace)
    for _ in range(3):
        second.launcher.job_changed(job)
        second.launcher.reap([])
        scene.seconds += 61
    assert [each["metadata"]["uid"] for each in scene.api.list(JOBS, scene.namespace)] == [job["metadata"]["uid"]]


def test_a_job_of_an_older_ledger_with_the_same_number_is_not_taken_for_ours(scene: Scene, ledger: Ledger) -> None:
    """Both releases counted their attempts from 1."""
    before = Operator(scene, ledger, "first")
    before.sweep()
    theirs = claim(**owner(scene.api, scene.namespace, "theirs"), attempt_id=1, task_id=1, token=uuid4())
    before.launcher.launch(theirs)
    [old] = scene.api.list(JOBS, scene.namespace)
    after = Operator(scene, ledger, "first")
    after.sweep()
    old["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    after.launcher.job_changed(old)
    ours = claim(**owner(scene.api, scene.namespace, "ours"), attempt_id=1, task_id=2, token=uuid4())
    after.launcher.launch(ours)
    after.launcher.job_changed(old)
    assert after.launcher.trouble(ours.assignment.job_id) is None
    after.launcher.reap([])
    after.launcher.kill(running(ours))
    assert [each["metadata"]["uid"] for each in scene.api.list(JOBS, scene.namespace)] == [old["metadata"]["uid"]]


@pytest.mark.parametrize("program", ["helm", "helm3"])
def test_helm_refuses_a_second_release_until_the_first_is_uninstalled(scene: Scene, program: str) -> None:
    """From another namespace, where only what both would serve stands between them. No controller runs there, so
    nothing is waited for."""
    elsewhere = f"{scene.namespace}-too"
    scene.control_plane.kubectl("create", "namespace", elsewhere)
    kubeconfig = f"--kubeconfig={scene.control_plane.kubeconfig()}"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return helm(program).run(*arguments, kubeconfig)

    def install(release: str, namespace: str) -> subprocess.CompletedProcess[str]:
        watched = f"watchNamespaces={{{scene.namespace}}}"
        quiet = ("--no-hooks", "--set=crds.enabled=false", "--set=operator.replicas=0", "--set", watched)
        return run("install", release, str(CHART), "-n", namespace, *quiet)

    first = install("adit", scene.namespace)
    assert first.returncode == 0, first.stderr
    assert scene.release(scene.namespace).owns(scene.namespace)  # its operator's work
    second = install("other", elsewhere)
    assert second.returncode != 0
    assert LEASE in second.stderr
    assert scene.namespace in second.stderr
    upgraded = run("upgrade", "adit", str(CHART), "-n", scene.namespace, "--no-hooks", "--reuse-values")
    assert upgraded.returncode == 0, upgraded.stderr
    assert scene.holder() == f"{scene.namespace}/adit-operator"
    assert run("uninstall", "adit", "-n", scene.namespace, "--no-hooks").returncode == 0
    assert scene.holder() == ""
    run("uninstall", "other", "-n", elsewhere, "--no-hooks", "--ignore-not-found")
    second = install("other", elsewhere)
    assert second.returncode == 0, second.stderr
    assert scene.release(elsewhere).owns(scene.namespace)
