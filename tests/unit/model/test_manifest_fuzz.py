"""Whatever a file holds: resources, or ManifestErrors; and never a patient's id in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adit.model.manifest_file import ManifestErrors, read
from tests.unit.model.specs import JOB, NODE, changed, resource

SECRET = "SECRET-4711"
TOKENS = [
    *["apiVersion: adit.dev/v1alpha1\n", "kind: TransferJob\n", "metadata: ", "spec:\n", "---\n", "...\n", "%YAML 9\n"],
    *["  ", "- ", "a: ", "{", "}", "[", "]", "&x ", "*x", "!!str ", "|\n", "'", '"', "#", "<<: ", "? ", ": "],
    *["1.2", "20:00", "\t", "\n"],
]
TEXTS = st.text(st.characters(codec="ascii"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXTS, inside, max_size=4),
    max_leaves=12,
)
JOB_FIELDS = [
    "selection",
    "selection.studies",
    "selection.studies.0",
    "selection.studies.0.studyInstanceUID",
    "trial",
    "retry",
    "retry.maxAttempts",
    "source",
    "source.node",
    "priority",
    "cancel",
    "suspend",
    "parallelism",
    "owner",
    "extra",
]
NODE_FIELDS = [
    "dimse",
    "dimse.port",
    "dimse.services",
    "dimse.tls",
    "dimse.timeouts",
    "folder",
    "limits",
    "limits.bytesPerSecond",
    "limits.tasks",
    "windows",
    "extra",
]


def problems_of(text: str) -> list[str]:
    try:
        read(text, "job.yaml")
    except ManifestErrors as errors:
        return [str(problem) for problem in errors.problems] or ["none, though it was refused"]
    return []


def problems_of_spec(kind: str, spec: dict[str, Any]) -> list[str]:
    return problems_of(json.dumps(resource(kind, spec)))


@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=6), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert all(told.startswith("job.yaml") for told in problems_of(text))


@given(st.sampled_from(JOB_FIELDS), VALUES)
def test_any_value_in_a_job_is_accepted_or_refused_by_its_place(field: str, value: object) -> None:
    assert all(" spec" in told for told in problems_of_spec("TransferJob", changed(JOB, {field: value})))


@given(st.sampled_from(NODE_FIELDS), VALUES)
def test_any_value_in_a_node_is_accepted_or_refused_by_its_place(field: str, value: object) -> None:
    assert all(" spec" in told for told in problems_of_spec("DicomNode", changed(NODE, {field: value})))


@given(st.sampled_from(["patientID", "patientId", "PatientID", "patient", "pseudonym"]), st.booleans(), VALUES)
def test_no_patient_is_named(key: str, listed: bool, other: object) -> None:
    study = {"studyInstanceUID": other, key: [SECRET] if listed else f"{SECRET}*\\"}
    spec = changed(JOB, {"selection.studies": [study, SECRET]})
    assert SECRET not in "\n".join(problems_of_spec("TransferJob", spec))
