"""Two real PACSs that hold the studies of docs/ and examples/, and a reader in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from tests.integration.docs.reader import Reader
from tests.peers.orthanc import Orthanc
from tests.peers.server_process import free_port
from tests.postgres import DatabaseServer
from tests.samples import Study, ct_study

FIRST, SECOND = "1.2.840.113619.2.1.1", "1.2.840.113619.2.1.2"


@pytest.fixture(scope="session")
def pacss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    folder = tmp_path_factory.mktemp("pacss")
    with Orthanc(folder, aet="PACS1") as source, Orthanc(folder, aet="RESEARCH") as destination:
        for uid in (FIRST, SECOND):
            source.upload(*_renamed(ct_study(2, seed=uid, series=2, patient_id="1003"), uid).files())
        yield source, destination


@pytest.fixture
def reader(
    tmp_path: Path, pacss: tuple[Orthanc, Orthanc], database_server: DatabaseServer
) -> Iterator[Callable[[], Reader]]:
    """Makes a reader: an `adit` with a fresh ledger and an empty destination, so that no page needs another."""
    source, destination = pacss
    destination.delete_all()
    names = [database_server.database(), database_server.database(template=None)]
    (tmp_path / "exports").mkdir()
    receiver = free_port()
    source.knows("ADIT", "127.0.0.1", receiver)
    replacements = {
        "host: pacs.example.org, port: 104": f"host: 127.0.0.1, port: {source.dicom_port}",
        "host: research.example.org, port: 4242": f"host: 127.0.0.1, port: {destination.dicom_port}",
        "/srv/dicom/exports": str(tmp_path / "exports"),
        "--receive 11112": f"--receive 127.0.0.1:{receiver}",
        "127.0.0.1:8080": f"127.0.0.1:{free_port()}",
        "postgresql://adit@db.example.org/adit": database_server.url(names[1]),
    }
    environment = {
        "ADIT_DATABASE_URL": database_server.url(names[0]),
        "ADIT_WORKER_DATABASE_URL": database_server.url(names[0], worker=True),
        "ADIT_DATA": str(tmp_path / "data"),
    }
    yield lambda: Reader(tmp_path, environment, replacements)
    for name in names:
        database_server.drop(name)


def _renamed(study: Study, uid: str) -> Study:
    """The study under the UIDs that the pages use."""

    def rename(instance: Dataset) -> Dataset:
        instance.StudyInstanceUID = uid
        instance.SeriesInstanceUID = f"{uid}.{instance.SeriesNumber}"
        return instance

    return Study(tuple(rename(instance) for instance in study.instances))
