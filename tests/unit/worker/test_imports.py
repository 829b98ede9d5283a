"""What a worker imports before it says its first word to a peer, and during a whole transfer between two peers.

Twenty workers start at once on two cores: each import is paid for with every task. Whoever adds one sees it here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import pytest

_FIRST_WORD: Final = """
import json, sys
import adit_worker.main
from adit.dicom.opening import open_node
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode

spec = {"dimse": {"aeTitle": "PACS", "host": "127.0.0.1", "port": 104}}
node = DicomNode.model_validate({"metadata": {"name": "pacs"}, "spec": spec})
open_node(node, Share()).open_store(["1.2.840.10008.5.1.4.1.1.2"])
print(json.dumps(sorted(sys.modules)))
"""
_NEVER: Final = {
    # the ledger's other side, and what the command line, the operator and the facade use
    *("sqlalchemy", "alembic", "typer", "rich", "click", "yaml", "structlog", "pygments", "pydantic_settings"),
    *("kopf", "kubernetes", "fastapi", "uvicorn", "prometheus_client", "aiohttp", "httpx", "requests", "urllib3"),
    *("boto3", "botocore", "s3transfer"),
    # decoding, of which the usual transfer does none
    *("pydicom", "pynetdicom", "numpy", "PIL"),
}
_NOT_OURS: Final = {
    *(
        "adit.cli",
        "adit.dispatch",
        "adit.dicom.dicomweb",
        "adit.dicom.folder",
        "adit.dicom.s3",
        "adit.deid.trial",
        "adit.dicom.dimse.recode",
    ),
    *("adit.dicom.dimse.probe", "adit.dicom.dimse.tls", "adit.ledger.ledger", "adit.ledger.tables"),
    *("adit.ledger.connection", "adit.ledger.records", "adit.ledger.manifest", "adit.model.crd"),
    *("adit.model.manifest_file", "adit.model.transfer_job", "adit.model.yaml_document"),
}


@pytest.fixture(scope="module")
def imported() -> set[str]:
    listing = subprocess.run([sys.executable, "-c", _FIRST_WORD], capture_output=True, text=True, check=True)
    return set(json.loads(listing.stdout))


def test_nothing_that_a_transfer_between_peers_does_without(imported: set[str]) -> None:
    assert {name.partition(".")[0] for name in imported} & _NEVER == set()


def test_none_of_our_own_rooms_that_others_need(imported: set[str]) -> None:
    assert imported & _NOT_OURS == set()


def test_no_more_than_there_was(imported: set[str]) -> None:
    """A bound with room for another version of a library; each hundred modules are about 50 ms."""
    assert len(imported) < 480
