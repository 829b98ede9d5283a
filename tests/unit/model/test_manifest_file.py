"""Manifests as people get them wrong: each problem named, all of them at once, nothing echoed of patients."""

from __future__ import annotations

import time

import pytest

from adit.model.dicom_node import DicomNode
from adit.model.manifest_file import ManifestErrors, read, read_all
from adit.model.transfer_job import TransferJob

NODE = """\
apiVersion: adit.dev/v1alpha1
kind: DicomNode
metadata: {name: pacs}
spec:
  dimse: {aeTitle: PACS, host: pacs.example.org, port: 104}
"""
JOB = """\
apiVersion: adit.dev/v1alpha1
kind: TransferJob
metadata:
  name: stroke
spec:
  source: {node: pacs}
  destination: {node: research}
  selection:
    studies:
    - studyInstanceUID: 1.2.840.1
      patientID: "1003"
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        read(text, "job.yaml")
    return [str(problem) for problem in caught.value.problems]


def only_problem_of(text: str) -> str:
    (problem,) = problems_of(text)
    return problem


def test_reads_documents_in_their_order() -> None:
    node, job = read(f"# comment\n---\n{NODE}---\n{JOB}---\n", "job.yaml")
    assert isinstance(node, DicomNode)
    assert isinstance(job, TransferJob)
    assert job.key == ("default", "stroke")


def test_all_problems_of_all_documents_at_once() -> None:
    problems = problems_of(
        NODE.replace("104", '"104"') + "---\n" + JOB.replace("1.2.840.1", "1.2").replace("pacs", "P")
    )
    assert problems == [
        'job.yaml:5 (document 1): spec.dimse.port: must be a whole number: leave out the quotes, not "104"',
        "job.yaml:12 (document 2): spec.source.node: must be a Kubernetes name: lower case letters, digits and '-', "
        'a letter or digit at both ends (RFC 1123), not "P"',
        "job.yaml:16 (document 2): spec.selection.studies[0].studyInstanceUID: "
        'must be a string: put it in quotes: "1.2"',
    ]


IN_QUOTES = "must be in quotes if it is a text"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "job.yaml: must hold at least one TransferJob, DicomNode or DeidProfile, but is empty"),
        ("a: b: c", "job.yaml:1 (document 1): must be YAML: mapping values are not allowed in this context"),
        ("a:\n\t- b", "job.yaml:2 (document 1): must be YAML: found character that cannot start any token"),
        ("a: \x01", "job.yaml: must be YAML: it holds characters that YAML forbids"),
        (
            NODE.replace("{name:", '{labels: {x: "a\\0b"}, name:'),
            "metadata.labels.x: must not hold control characters or surrogates",
        ),
        ("- 1", "job.yaml:1 (document 1): must be a mapping with apiVersion, kind, metadata and spec"),
        ("just text", "job.yaml:1 (document 1): must be a mapping with apiVersion, kind, metadata and spec"),
        ("? {a: b}\n: c", "job.yaml:1 (document 1): must have plain texts as keys"),
        ("a: *b", "job.yaml:1 (document 1): must use only aliases of values that stand before them"),
        ("a: &a [*a]", "job.yaml:1 (document 1): must use only aliases of values that stand before them"),
        (NODE.replace("DicomNode", "DicomNod"), 'did you mean DicomNode?, not "DicomNod"'),
        (
            NODE.replace("kind: DicomNode\n", ""),
            "job.yaml:1 (document 1): kind: must be TransferJob, DicomNode or DeidProfile",
        ),
        (NODE.replace("v1alpha1", "v1"), 'apiVersion: must be adit.dev/v1alpha1, not "adit.dev/v1"'),
        (NODE.replace("PACS", "PACS, aeTitle: X"), "spec.dimse.aeTitle: must stand only once, but is also in line 5"),
        (NODE + "  limits: {<<: {}}\n", "spec.limits.<<: is a YAML merge key; write the fields out"),
        (NODE.replace("PACS", "!!binary UEFDUw=="), "spec.dimse.aeTitle: must not have a YAML tag"),
        (NODE.replace("PACS", "no"), 'spec.dimse.aeTitle: must be a string: put it in quotes: "no"'),
        (NODE.replace("PACS", "1e3"), 'spec.dimse.aeTitle: must be a string: put it in quotes: "1e3"'),
        (NODE.replace("PACS", "2026-01-01"), f"spec.dimse.aeTitle: {IN_QUOTES}: it is a date"),
        (NODE.replace("104", "0104"), f"spec.dimse.port: {IN_QUOTES}: it is a number to another base"),
        (NODE.replace("104", "1_04"), f"spec.dimse.port: {IN_QUOTES}: it is a number of another value"),
        (NODE.replace("104", "9" * 30), f"spec.dimse.port: {IN_QUOTES}: it is a number of another value"),
        (NODE + "  windows: [{from: 20:00, to: '06:00'}]\n", f"spec.windows[0].from: {IN_QUOTES}: it is a number"),
        (f"{NODE}---\n{NODE}", "metadata.name: must stand only once, but is also in job.yaml (document 1)"),
        (NODE.replace("name: pacs", ""), "job.yaml:3 (document 1): metadata.name: is required"),
        (NODE.replace("{name: pacs}", "pacs"), "metadata: must be a mapping, not a scalar"),
    ],
)
def test_one_problem_is_named(text: str, problem: str) -> None:
    assert problem in only_problem_of(text)


@pytest.mark.parametrize(
    "change",
    [
        ('"1003"', "1003"),
        ('"1003"', "01003"),
        ('"1003"', '"1003*"'),
        ('"1003"', f'"{"1003" * 20}"'),
        ('"1003"', "[1003]"),
        ('patientID: "1003"', 'patientId: "1003"'),
        ("- studyInstanceUID: 1.2.840.1\n      patientID: ", "- "),
    ],
)
def test_a_patient_id_is_never_repeated(change: tuple[str, str]) -> None:
    text = JOB.replace(*change)
    assert text != JOB
    assert "1003" not in only_problem_of(text)


def test_bounds_hold() -> None:
    begun = time.monotonic()
    assert "nested at most 32 deep" in only_problem_of("[" * 5_000 + "]" * 5_000)
    assert "nested at most 32 deep" in only_problem_of("\n".join(" " * depth + "a:" for depth in range(3_000)))
    assert "at most 8 MiB long" in only_problem_of("#" * (8 * 2**20 + 1))
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    assert "unfold" in only_problem_of(bomb)
    assert time.monotonic() - begun < 10


def test_aliases_within_bounds_are_read() -> None:
    text = NODE + "  windows:\n  - &night {from: '20:00', to: '06:00'}\n  - *night\n"
    (node,) = read(text, "job.yaml")
    assert isinstance(node, DicomNode)
    assert node.spec.windows[0] == node.spec.windows[1]


def test_a_null_is_an_absent_field_as_in_kubernetes() -> None:
    (node,) = read(NODE + "  limits:\n  windows: ~\n", "job.yaml")
    assert isinstance(node, DicomNode)
    assert node.spec.limits.tasks == 4


def test_status_is_ignored() -> None:
    (node,) = read(NODE + "status: {whatever: [1, 2]}\n", "job.yaml")
    assert node.status is None


def test_server_made_metadata_is_ignored_and_labels_are_kept() -> None:
    (node,) = read(
        NODE.replace("{name: pacs}", "{name: pacs, resourceVersion: '7', labels: {team: stroke}}"), "job.yaml"
    )
    assert node.metadata.labels == {"team": "stroke"}


def test_several_files_are_one_set() -> None:
    with pytest.raises(ManifestErrors) as caught:
        read_all([("a.yaml", NODE), ("b.yaml", NODE), ("c.yaml", "kind: X"), ("d.yaml", "")])
    assert [problem.source for problem in caught.value.problems] == ["b.yaml", "c.yaml", "c.yaml", "d.yaml"]


def test_many_problems_are_counted_but_not_all_shown() -> None:
    studies = ", ".join('{studyInstanceUID: "x"}' for _ in range(200))
    text = JOB[: JOB.index("    studies:")] + f"    studies: [{studies}]\n"
    with pytest.raises(ManifestErrors) as caught:
        read(text, "job.yaml")
    assert len(caught.value.problems) == 200
    assert str(caught.value).endswith("… and 150 more")
