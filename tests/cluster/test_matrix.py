"""Every kind of source to every kind of destination on the cluster: all at once, each job with a study of its own.

The servers run beside the node's pods, as those of a hospital do; folders are a volume of the workers'. What arrived is
told by the destination itself, and is bit for bit what was sent.
"""

from __future__ import annotations

import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from adit.model.dicom_node import DicomNode
from tests.cluster.conftest import installed
from tests.cluster.installation import Installation, Job
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.outside import NODE
from tests.ends import DESTINATIONS, ROADS, SOURCES, Destination, Digests, Ends, digests_of, study_of_every_kind
from tests.samples import Study

pytestmark = pytest.mark.timeout(600)
PAIRS = [*product(SOURCES, DESTINATIONS), ("C-MOVE", "Zip"), ("DICOMweb", "SevenZip")]
STUDIES = {pair: study_of_every_kind("-".join(("cluster", *pair))) for pair in PAIRS}


@dataclass(frozen=True)
class Matrix:
    """Its jobs, all of them begun."""

    installation: Installation
    destinations: dict[str, Destination]
    jobs: dict[tuple[str, str], Job]


@pytest.fixture(scope="module")
def ends() -> Iterator[Ends]:
    """Where pods can have them as a volume: pytest's own folders lie below /tmp, which a pod has for itself."""
    folder = Path(tempfile.mkdtemp(prefix="adit-ends-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with Ends(folder, NODE) as ends:
            ends.fill(file for study in STUDIES.values() for file in study.files())
            yield ends
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def matrix(kubernetes: Kubernetes, ends: Ends) -> Iterator[Matrix]:
    volume = {"name": "ends", "hostPath": {"path": str(ends.folder), "type": "Directory"}}
    worker = {"extraVolumes": [volume], "extraVolumeMounts": [{"name": "ends", "mountPath": str(ends.folder)}]}
    receiver = {"enabled": True, "replicas": 1, "resources": {"requests": {"cpu": "10m"}}}
    with installed(kubernetes, pod_security="privileged", worker=worker, receiver=receiver) as system:
        ends.pacs.knows("ADIT", f"{system.release}-receiver.{system.namespace}.svc", 11112)
        sources = {kind: ends.source(kind) for kind in SOURCES}
        destinations = {kind: ends.destination(kind) for kind in dict.fromkeys(kind for _, kind in PAIRS)}
        nodes = [*sources.values(), *(each.node for each in destinations.values())]
        system.apply(*map(secret, ends.secrets.iterdir()), *map(manifest, nodes))
        jobs = {
            (source, kind): system.job(
                STUDIES[source, kind].study_instance_uid,
                source={"node": sources[source].metadata.name},
                destination={"node": destinations[kind].node.metadata.name},
            )
            for source, kind in PAIRS
        }
        yield Matrix(system, destinations, jobs)


def secret(folder: Path) -> dict[str, Any]:
    data = {file.name: b64encode(file.read_bytes()).decode() for file in folder.iterdir()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": folder.name}, "data": data}


def manifest(node: DicomNode) -> dict[str, Any]:
    spec = node.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "DicomNode",
        "metadata": {"name": node.metadata.name},
        "spec": spec,
    }


@pytest.mark.parametrize(("source", "kind"), PAIRS)
def test_from_each_to_each(matrix: Matrix, source: str, kind: str) -> None:
    job, study = matrix.jobs[source, kind], STUDIES[source, kind]
    job.wait("Complete", 300)
    ledger = matrix.installation.ledger
    summary = ledger.summary(job.id)
    assert (summary.expected, summary.verified) == (len(study.instances), len(study.instances)), job.story()
    [task] = ledger.tasks(job.id)
    events = ledger.events(task.id)
    assert {each.message.partition(":")[0] for each in events if each.code == "Fetched"} == {ROADS[source]}
    assert not [each for each in events if each.level != "info"], job.story()


@pytest.mark.parametrize(
    "kinds", [("DIMSE", "DICOMweb"), ("folder",), ("S3",), ("Zip",), ("SevenZip",)], ids=" and ".join
)
def test_what_is_there_is_what_was_sent(matrix: Matrix, kinds: tuple[str, ...]) -> None:
    """By DIMSE and by DICOMweb it comes to the same server."""
    sent = [study for (_, kind), study in STUDIES.items() if kind in kinds]
    assert matrix.destinations[kinds[0]].holds() == of(sent)


def of(studies: list[Study]) -> Digests:
    return digests_of(file for study in studies for file in study.files())
