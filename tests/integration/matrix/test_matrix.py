"""Every kind of source to every kind of destination, on real servers: proven, and bit for bit what was there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import pytest

from adit.ledger.ledger import Ledger
from adit.model.instance import InstanceState
from adit.model.outcome import Outcome
from tests import samples
from tests.ends import DESTINATIONS, ROADS, SOURCES, Destination, Ends, digests_of, study_of_every_kind
from tests.integration.transfer.scene import Scene, scene_of

STUDY = study_of_every_kind("matrix")


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with Ends(tmp_path_factory.mktemp("ends")) as ends:
        ends.fill([*STUDY.files(), *samples.ct_study(2, seed="another").files()])
        yield ends


@pytest.fixture
def scene(ledger: Ledger, worker_url: str, tmp_path: Path, ends: Ends) -> Iterator[Scene]:
    with scene_of(ledger, worker_url, tmp_path) as scene:
        scene.secrets = ends.secrets
        yield scene


@pytest.fixture
def receiver(request: pytest.FixtureRequest, ends: Ends, receiver_url: str) -> Iterator[None]:
    """Only where there is something for it to do."""
    with ends.receiving(receiver_url) if request.getfixturevalue("source") == "C-MOVE" else nullcontext():
        yield


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(
    ("source", "kind"), [*product(SOURCES, DESTINATIONS), ("C-MOVE", "Zip"), ("DICOMweb", "SevenZip")]
)
def test_from_each_to_each(source: str, kind: str, scene: Scene, ends: Ends) -> None:
    destination: Destination = ends.destination(kind)
    task = scene.task(ends.source(source), destination.node, STUDY.study_instance_uid)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.road == ROADS[source]
    assert task.states() == dict.fromkeys(STUDY.sop_instance_uids, InstanceState.VERIFIED)
    assert destination.holds() == digests_of(STUDY.files())
