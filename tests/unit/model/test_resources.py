"""Every rule of the two resources with a value that is refused and one that is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adit.model.manifest_file import ManifestErrors, read
from adit.model.transfer_job import Priority, TransferJob
from tests.unit.model.specs import BUCKET, GONE, JOB, NODE, WINDOW, changed, resource

STUDY = "selection.studies.0"
ONE_KIND = "exactly one of dimse, dicomWeb, folder, s3 must be given, or dimse and dicomWeb together"
WEB: dict[str, Any] = {"url": "https://pacs.example.org/dicom-web"}
HEADER = {"secretName": "t", "scheme": "Header", "headerName": "X-Api-Key"}
ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("TransferJob", {}),
    ("TransferJob", {f"{STUDY}.patientID": "1003", f"{STUDY}.pseudonym": "STROKE-001"}),
    ("TransferJob", {f"{STUDY}.seriesInstanceUIDs": ["1.2.3.4", "1.2.3.5"]}),
    ("TransferJob", {"selection": {"failedOf": {"name": "first-try"}}}),
    ("TransferJob", {"selection.studies": [{"studyInstanceUID": f"1.2.{n}"} for n in range(500)]}),
    ("TransferJob", {"trial": {"protocolID": "STROKE"}}),
    ("TransferJob", {"trial": {"protocolName": "Stroke CT"}}),
    ("TransferJob", {"retry": {"maxAttempts": 1, "backoffSeconds": 5, "maxBackoffSeconds": 5}}),
    ("TransferJob", {"priority": "Urgent", "parallelism": 500, "deadlineSeconds": 1, "owner": "stroke-team"}),
    ("TransferJob", {"suspend": True, "cancel": "Drain", "retention": {"instancesSeconds": 0}}),
    ("DicomNode", {}),
    ("DicomNode", {"dimse": GONE, "folder.path": "/data"}),
    ("DicomNode", {"dimse": GONE, "s3": BUCKET}),
    ("DicomNode", {"dimse": GONE, "s3": {**BUCKET, "prefix": "in/ct_2024", "endpoint": "http://[::1]:9000"}}),
    ("DicomNode", {"dimse": GONE, "s3": {**BUCKET, "tls": {"secretName": "ca"}, "pathStyle": False, "region": "eu-1"}}),
    ("DicomNode", {"dimse": GONE, "s3": {**BUCKET, "encryption": {"method": "KMS", "keyID": "alias/x"}}}),
    ("DicomNode", {"dicomWeb": WEB}),
    ("DicomNode", {"dimse.tls": {"secretName": "pacs-tls", "serverName": "pacs"}}),
    ("DicomNode", {"dimse": GONE, "dicomWeb.url": "https://pacs.example.org"}),
    ("DicomNode", {"dimse": GONE, "dicomWeb": {"url": "http://[::1]:8042/a/b%20c/", "prefixes": {"qido": "a/b"}}}),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": {"url": "https://a", "tls": {"secretName": "t"}, "services": ["QIDO-RS"]}},
    ),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB | {"credentials": {"secretName": "t", "scheme": "Basic"}}}),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB | {"credentials": HEADER}}),
    ("DicomNode", {"dimse.services": ["Verification", "Storage"], "dimse.callingAETitle": "ADIT_RESEARCH_16"}),
    ("DicomNode", {"limits": {"tasks": 2, "associations": 2, "queriesPerSecond": 5, "bytesPerSecond": 1000}}),
    ("DicomNode", {"windows": [WINDOW, {**WINDOW, "days": ["Sat", "Sun"], "to": "24:00", "timeZone": "Asia/Tokyo"}]}),
]
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("TransferJob", {"source": GONE}, "spec.source", "is required"),
    ("TransferJob", {"source.node": "PACS"}, "spec.source.node", "must be a Kubernetes name"),
    ("TransferJob", {"source.node": "research"}, "spec", "source and destination must be different nodes"),
    ("TransferJob", {"selection": {}}, "spec.selection", "exactly one of studies, list, failedOf must be given"),
    ("TransferJob", {"selection.failedOf": {"name": "a"}}, "spec.selection", "exactly one of studies, list, failedOf"),
    ("TransferJob", {"selection": {"list": {}}}, "spec.selection.list", "exactly one of name, id must be given"),
    ("TransferJob", {"selection": {"list": {"id": "7"}}}, "spec.selection.list.id", "must be at least 36 characters"),
    (
        "TransferJob",
        {"selection": {"list": {"id": "x" * 36}}},
        "spec.selection.list.id",
        "must be a UUID in lower case",
    ),
    ("TransferJob", {"selection.studies": []}, "spec.selection.studies", "must have at least 1, not 0"),
    (
        "TransferJob",
        {"selection.studies": [{"studyInstanceUID": f"1.2.{n}"} for n in range(501)]},
        "spec.selection.studies",
        "must have at most 500, not 501: more go into a selection, which the job names by selection.list",
    ),
    (
        "TransferJob",
        {"selection.studies": [{"studyInstanceUID": "1.2"}, {"studyInstanceUID": "1.2"}]},
        "spec.selection.studies",
        "must not hold a value twice (1.2)",
    ),
    ("TransferJob", {f"{STUDY}.studyInstanceUID": "1.x"}, f"spec.{STUDY}.studyInstanceUID", "must be a DICOM UID"),
    ("TransferJob", {f"{STUDY}.studyInstanceUID": "1" * 65}, f"spec.{STUDY}.studyInstanceUID", "must be at most 64"),
    ("TransferJob", {f"{STUDY}.patientID": "10*"}, f"spec.{STUDY}.patientID", "must be a PatientID without wildcards"),
    ("TransferJob", {f"{STUDY}.pseudonym": "a\\b"}, f"spec.{STUDY}.pseudonym", "must be a text without backslash"),
    ("TransferJob", {f"{STUDY}.seriesInstanceUIDs": []}, f"spec.{STUDY}.seriesInstanceUIDs", "must have at least 1"),
    (
        "TransferJob",
        {f"{STUDY}.seriesInstanceUIDs": ["1.2", "1.2"]},
        f"spec.{STUDY}.seriesInstanceUIDs",
        "must not hold a value twice (1.2)",
    ),
    ("TransferJob", {"trial": {}}, "spec.trial", "at least one of protocolID, protocolName must be given"),
    ("TransferJob", {"priority": "urgent"}, "spec.priority", "did you mean Urgent?"),
    ("TransferJob", {"parallelism": 501}, "spec.parallelism", "must be at most 500, not 501"),
    ("TransferJob", {"parallelism": 0}, "spec.parallelism", "must be at least 1, not 0"),
    ("TransferJob", {"parallelism": 1.5}, "spec.parallelism", "must be a whole number, not 1.5"),
    ("TransferJob", {"parallelism": "5"}, "spec.parallelism", "leave out the quotes"),
    ("TransferJob", {"retry.maxAttempts": 21}, "spec.retry.maxAttempts", "must be at most 20, not 21"),
    (
        "TransferJob",
        {"retry": {"backoffSeconds": 60, "maxBackoffSeconds": 59}},
        "spec.retry",
        "maxBackoffSeconds must be at least backoffSeconds (59 < 60)",
    ),
    ("TransferJob", {"deadlineSeconds": 0}, "spec.deadlineSeconds", "must be at least 1, not 0"),
    ("TransferJob", {"retention.instancesSeconds": -1}, "spec.retention.instancesSeconds", "must be at least 0"),
    ("TransferJob", {"suspend": "true"}, "spec.suspend", "must be true or false"),
    ("TransferJob", {"cancel": "Now"}, "spec.cancel", "must be 'Drain' or 'Terminate', not \"Now\""),
    ("TransferJob", {"paralellism": 3}, "spec.paralellism", "did you mean parallelism?"),
    ("DicomNode", {"folder.path": "/data"}, "spec", ONE_KIND),
    ("DicomNode", {"dimse": GONE}, "spec", ONE_KIND),
    ("DicomNode", {"dicomWeb": WEB, "folder.path": "/data"}, "spec", ONE_KIND),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB, "folder.path": "/data"}, "spec", ONE_KIND),
    ("DicomNode", {"dimse": GONE, "folder.path": "data"}, "spec.folder.path", "must be an absolute path"),
    *(
        (
            "DicomNode",
            {"dimse": GONE, "folder": {"path": "/data", "archive": archive}},
            f"spec.folder.archive.{field}",
            rule,
        )
        for archive, field, rule in (
            ({"format": "Zip"}, "secretName", "is required"),
            ({"secretName": "a"}, "format", "is required"),
            ({"format": "Rar", "secretName": "a"}, "format", "must be 'Zip' or 'SevenZip'"),
            ({"format": "Zip", "secretName": "a", "password": "x"}, "password", "is not a field"),
        )
    ),
    ("DicomNode", {"s3": BUCKET}, "spec", ONE_KIND),
    *(
        ("DicomNode", {"dimse": GONE, "s3": {**BUCKET, field: value}}, f"spec.s3.{field}", rule)
        for field, value, rule in (
            ("bucket", "Lake", "must be a bucket's name"),
            ("bucket", "ab", "must be at least 3 characters"),
            ("prefix", "/in", "must be parts joined by '/'"),
            ("prefix", "in/", "must be parts joined by '/'"),
            ("prefix", "in/../out", "must be parts joined by '/'"),
            ("endpoint", "s3.example.org", "must be http:// or https://"),
            ("endpoint", "https://key:secret@s3.example.org", "must be http:// or https://"),
            ("endpoint", "https://s3.example.org/path", "must be http:// or https://"),
            ("region", "EU", "must be a region's name"),
            ("proof", "None", "must be 'Checksum' or 'Content'"),
            ("maxObjects", 0, "must be at least 1"),
        )
    ),
    ("DicomNode", {"dimse.port": 65536}, "spec.dimse.port", "must be at most 65535, not 65536"),
    ("DicomNode", {"dimse.port": "104"}, "spec.dimse.port", "leave out the quotes"),
    ("DicomNode", {"dimse.aeTitle": "X" * 17}, "spec.dimse.aeTitle", "must be at most 16 characters"),
    ("DicomNode", {"dimse.ae_title": "X"}, "spec.dimse.ae_title", "did you mean aeTitle?"),
    ("DicomNode", {"dimse.host": "a b"}, "spec.dimse.host", "must be a host name"),
    ("DicomNode", {"dimse.services": ["Find"]}, "spec.dimse.services[0]", "must be 'Verification'"),
    ("DicomNode", {"dimse.services": ["Storage"] * 2}, "spec.dimse.services", "must not hold a value twice (Storage)"),
    ("DicomNode", {"dimse.tls": {}}, "spec.dimse.tls.secretName", "is required"),
    *(
        ("DicomNode", {"dimse": GONE, "dicomWeb.url": url}, "spec.dicomWeb.url", "must be a URL such as")
        for url in (
            "pacs",
            "ftp://pacs",
            "https://u:p@pacs",
            "https://pacs?a=b",
            "https://pacs#a",
            "https://a b",
            "https://",
        )
    ),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": WEB | {"prefixes": {"wado": "/wado"}}},
        "spec.dicomWeb.prefixes.wado",
        "must be parts of a URL's path",
    ),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": WEB | {"credentials": {"secretName": "t", "scheme": "Header"}}},
        "spec.dicomWeb.credentials",
        "headerName must be given with scheme Header, and only then",
    ),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": WEB | {"credentials": HEADER | {"headerName": "X Y"}}},
        "spec.dicomWeb.credentials.headerName",
        "must be the name of an HTTP header",
    ),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": {"url": "http://a", "tls": {"secretName": "t"}}},
        "spec.dicomWeb",
        "tls needs a url that begins with https:",
    ),
    ("DicomNode", {"dimse.timeouts.acseSeconds": 0}, "spec.dimse.timeouts.acseSeconds", "must be at least 1"),
    ("DicomNode", {"limits": {"tasks": 9}}, "spec.limits", "associations must be at least tasks"),
    ("DicomNode", {"limits.bytesPerSecond": "fast"}, "spec.limits.bytesPerSecond", 'such as 50Mi, not "fast"'),
    ("DicomNode", {"windows": [{**WINDOW, "from": "24:00"}]}, "spec.windows[0]", "from must be before 24:00"),
    ("DicomNode", {"windows": [{**WINDOW, "to": "20:00"}]}, "spec.windows[0]", "from and to must differ"),
    ("DicomNode", {"windows": [{**WINDOW, "days": []}]}, "spec.windows[0].days", "must have at least 1"),
    ("DicomNode", {"windows": [{**WINDOW, "days": ["Mon", "Mon"]}]}, "spec.windows[0].days", "twice (Mon)"),
    ("DicomNode", {"windows": [{**WINDOW, "days": ["Monday"]}]}, "spec.windows[0].days[0]", "did you mean"),
    (
        "DicomNode",
        {"windows": [{**WINDOW, "timeZone": "Mars/X"}]},
        "spec.windows[0].timeZone",
        "no such IANA time zone",
    ),
    ("DicomNode", {"windows": [WINDOW] * 22}, "spec.windows", "must have at most 21, not 22"),
]


def text_of(kind: str, changes: dict[str, Any]) -> str:
    spec = changed(JOB if kind == "TransferJob" else NODE, changes)
    return json.dumps(resource(kind, spec))  # JSON is YAML


@pytest.mark.parametrize(("kind", "changes"), ACCEPTED, ids=str)
def test_accepts(kind: str, changes: dict[str, Any]) -> None:
    (found,) = read(text_of(kind, changes), "job.yaml")
    again = type(found).model_validate_json(found.model_dump_json(by_alias=True, exclude_none=True))
    assert again == found


@pytest.mark.parametrize(("kind", "changes", "field", "rule"), REFUSED, ids=str)
def test_refuses(kind: str, changes: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(ManifestErrors) as caught:
        read(text_of(kind, changes), "job.yaml")
    (problem,) = caught.value.problems
    assert problem.field.replace("[0]", ".0") == field.replace("[0]", ".0")
    assert rule in str(problem)
    assert str(problem).startswith("job.yaml:1 (document 1)")


def test_defaults_are_applied() -> None:
    (job,) = read(text_of("TransferJob", {}), "job.yaml")
    assert isinstance(job, TransferJob)
    assert job.spec.priority is Priority.NORMAL
    assert (job.spec.parallelism, job.spec.retry.max_attempts) == (10, 5)
    assert (job.metadata.namespace, job.owner) == ("default", "default")
