"""What is said of an invalid resource: the field and the rule, whatever stands there; never what stands there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from adit.model.dicom_node import DicomNode
from adit.model.invalid_resource import what_is_wrong
from adit.model.transfer_job import TransferJob
from tests.unit.model.specs import JOB, NODE, WINDOW, changed, resource

MARK = "Doe^Jane 1003"


def said(kind: str, changes: dict[str, Any]) -> str:
    document = resource(kind, changed(JOB if kind == "TransferJob" else NODE, changes))
    model = TransferJob if kind == "TransferJob" else DicomNode
    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(json.dumps(document), strict=True, by_alias=True, by_name=False)
    return what_is_wrong(raised.value, model)


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("TransferJob", {"owner": MARK}, "spec.owner: must be"),
        ("TransferJob", {"priority": MARK}, "spec.priority: must be 'Low'"),
        ("TransferJob", {"suspend": MARK}, "spec.suspend: must be true or false"),
        ("TransferJob", {"selection": MARK}, "spec.selection: must be a mapping"),
        ("TransferJob", {"selection.studies": [MARK]}, "spec.selection.studies[0]: must be a mapping"),
        ("TransferJob", {"selection.studies.0.patientID": f"{MARK}\n"}, "spec.selection.studies[0].patientID: must be"),
        ("TransferJob", {"selection.studies.0.pseudonym": MARK * 9}, "spec.selection.studies[0].pseudonym: must be at"),
        ("TransferJob", {MARK: {"a": 1}}, "spec: holds a field that is unknown."),
        ("TransferJob", {"prioritty": MARK}, "spec: holds a field that is unknown; did you mean priority?"),
        (
            "TransferJob",
            {"selection.studies": [{"studyInstanceUID": "1.2.1003"}] * 2},
            "spec.selection.studies: must not hold a value twice.",
        ),
        ("TransferJob", {"destination.node": "pacs"}, "spec: source and destination must be different nodes."),
        ("DicomNode", {"windows": [{**WINDOW, "timeZone": "Jane/Doe"}]}, "spec.windows[0].timeZone: no such IANA"),
        ("DicomNode", {"dimse.host": MARK}, "spec.dimse.host: must be"),
        ("DicomNode", {"dimse.port": MARK}, "spec.dimse.port: must be a whole number"),
    ],
    ids=str,
)
def test_the_field_and_the_rule(kind: str, changes: dict[str, Any], field: str) -> None:
    text = said(kind, changes)
    assert text.startswith(field)
    assert text.endswith("Correct it and apply it again.")
    assert not any(word in text for word in ("Jane", "1003", "Doe"))


def test_the_first_faults_and_how_many_more() -> None:
    text = said("TransferJob", {"owner": "A B", "priority": "x", "suspend": 3, "parallelism": 0, "source": 1})
    assert text.count(";") >= 3
    assert text.endswith("and 2 more. Correct it and apply it again.")
