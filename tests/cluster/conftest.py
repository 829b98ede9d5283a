"""Fixtures of the tests that need a real Kubernetes. `make test-cluster` runs them where one is there: inside
`make cluster`'s, or on this host against $KUBECONFIG with the images of $ADIT_TEST_IMAGES."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.installation import Installation
from tests.cluster.kubernetes import Kubernetes, inside_the_rig, is_there
from tests.cluster.witness import Witness, each_job_witnessed
from tests.samples import Study, ct_study

PATIENT = "Patient-{:04}-Zebra"
"""Ids that nothing else can spell, so that a scan of the cluster for them means something."""
ONLY_IN_THE_RIG = {
    "test_chaos.py": "breaks the node and the control plane",
    "test_killed_worker.py": "kills a process of a pod from the node",
    "test_node_and_images.py": "breaks the node",
    "test_receiver_from_outside.py": "makes a network beside the node's",
    "test_matrix.py": "has servers beside the node's pods, which a cluster elsewhere may not reach",
    "test_rig.py": "is about `make cluster` itself",
    **dict.fromkeys(
        ("api_server", "test_database_secret.py", "test_examples.py"),
        "starts API servers of its own from the programs that `make cluster` builds",
    ),
}
"""Why nothing of these files and folders is run in somebody's cluster."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Neither skips nor failures where they cannot run: they are not asked."""
    if not collection_path.name.startswith("test_") or inside_the_rig():
        return None
    left_out = {collection_path.name, collection_path.parent.name} & ONLY_IN_THE_RIG.keys()
    return True if left_out or not is_there() else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not is_there():
        terminalreporter.line("tests/cluster: left out, as they run inside a cluster: make cluster test-cluster")
    elif not inside_the_rig():
        terminalreporter.section(
            "left out in a cluster that is not `make cluster`'s; to run them: make cluster test-cluster"
        )
        for what, why in sorted(ONLY_IN_THE_RIG.items()):
            terminalreporter.line(f"{what}: {why}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for a cluster may take longer than other tests; each wait in them has a limit of its own."""
    for item in items:
        if "tests/cluster/" in str(item.path) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def kubernetes() -> Kubernetes:
    return Kubernetes()


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """The test's own, under `restricted` Pod Security; what is in it goes with it."""
    name = f"test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "adit.dev/made-by": "tests"}
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@contextmanager
def installed(kubernetes: Kubernetes, *, pod_security: str = "restricted", **values: Any) -> Iterator[Installation]:
    """ADIT with its sandbox, in a namespace of its own."""
    name = f"adit-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": pod_security, "adit.dev/made-by": "tests"}
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    made = Installation(name)
    try:
        made.install(**values)
        yield made
    finally:
        made.close()
        kubernetes.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="session")
def release(kubernetes: Kubernetes) -> Iterator[Installation]:
    """Installed once for all tests of the system; nobody changes its values for good."""
    with installed(kubernetes) as made:
        yield made


@pytest.fixture(scope="session")
def many_studies(release: Installation) -> list[Study]:
    """Sixty small studies of four instances each, at the source."""
    studies = [ct_study(4, seed=f"cluster-{number}", patient_id=PATIENT.format(number)) for number in range(60)]
    for study in studies:
        release.source.upload(*study.files())
    return studies


@pytest.fixture(scope="session")
def long_study(release: Installation) -> Study:
    """Five megabytes in forty instances, at the source: ten seconds through the node `slow_pacs`."""
    study = ct_study(40, seed="cluster-long", size=256, patient_id=PATIENT.format(8000))
    release.source.upload(*study.files())
    return study


@pytest.fixture
def slow_pacs(installation: Installation) -> str:
    """The source once more, with a budget of half a megabyte a second."""
    return installation.node("slow-pacs", limits={"tasks": 8, "associations": 8, "bytesPerSecond": "500k"})


@pytest.fixture
def installation(release: Installation) -> Iterator[Installation]:
    """The release with an empty destination and no jobs."""
    release.clear()
    yield release
    release.clear()


@pytest.fixture
def witnessed(installation: Installation) -> Iterator[list[Witness]]:
    """No job of the test may claim anything that is not true, or store anything more often than it was tried."""
    with each_job_witnessed(installation) as witnesses:
        yield witnesses
