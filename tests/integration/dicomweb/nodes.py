"""Our node for a DICOMweb server of the tests, with short time-outs, and what such servers answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset

from adit.dicom.dicomweb.node import DicomWebNode
from adit.dicom.payload import Spool
from adit.model.assignment import Share
from adit.model.dicom_web import DicomWeb, WebTimeouts
from tests.peers.scripted_web import Reply

SHORT = WebTimeouts(connect_seconds=2, answer_seconds=5, network_seconds=5, busy_seconds=3)
UNLIMITED = Share(associations=8)
JSON = {"Content-Type": "application/dicom+json"}


def node(
    url: str, *, share: Share = UNLIMITED, secrets: Path | None = None, spool: Spool | None = None, **web: Any
) -> DicomWebNode:
    """`web` are fields of the DicomWeb model."""
    model = DicomWeb.model_validate({"url": url, "timeouts": SHORT, **web})
    return DicomWebNode("server", model, share, secrets=secrets, spool=spool, verify_waits=(0.05, 0.1))


def listing(datasets: Iterable[Dataset], *keywords: str, status: int = 200, **headers: str) -> Reply:
    """An answer of QIDO-RS with these attributes of each."""
    found = []
    for dataset in datasets:
        some = Dataset()
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", *keywords):
            some[keyword] = dataset[keyword]
        found.append(some.to_json_dict())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(found).encode(), JSON | named)


def stored(
    *uids: str, failed: Mapping[str, float] | None = None, warned: dict[str, int] | None = None, status: int = 200
) -> Reply:
    """An answer of STOW-RS: these were stored, and those were not, or with a warning, for these reasons."""
    warned, failed = warned or {}, failed or {}
    document = {
        "00081199": {"vr": "SQ", "Value": [_item(uid, "00081196", warned.get(uid)) for uid in (*uids, *warned)]},
        "00081198": {"vr": "SQ", "Value": [_item(uid, "00081197", reason) for uid, reason in failed.items()]},
    }
    return Reply(status, json.dumps(document).encode(), JSON)


def _item(uid: str, tag: str, reason: float | None) -> dict[str, Any]:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item if reason is None else item | {tag: {"vr": "US", "Value": [reason]}}


def query_of(path: str) -> Sequence[str]:
    """The pairs of a URL's query."""
    return path.partition("?")[2].split("&")
