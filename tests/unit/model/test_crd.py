"""The CRDs: structural and bounded, the same verdicts as the models, and no drift from crds/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from pydantic import ValidationError

from adit.ledger.resources import ResourceConflict, check_change
from adit.model.crd import crds, text_of
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob
from tests.unit.model.specs import BUCKET, GONE, JOB, SPECS, WINDOW, changed, resource

ROOT = Path(__file__).parents[3]
Schema = dict[str, Any]
FORBIDDEN = {"$ref", "$defs", "additionalProperties", "nullable", "title", "const", "oneOf", "not", "definitions"}
CHEAP = 10_000
"""What a rule may look at, in elements: the API server refuses a CRD whose rules cost too much."""


def root_of(kind: str) -> Schema:
    (crd,) = [crd for crd in crds().values() if crd["spec"]["names"]["kind"] == kind]
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from walk(each, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


def test_no_word_in_a_crd_is_a_truth_to_yaml_1_1() -> None:
    """kubectl reads YAML 1.1, where y and on are booleans: a field of that name could not be written."""
    truths = {"y", "n", "yes", "no", "on", "off"}
    for kind in ("TransferJob", "DicomNode", "DeidProfile"):
        for path, schema in walk(root_of(kind)):
            words = [*schema.get("properties", {}), *(each for each in schema.get("enum", []) if isinstance(each, str))]
            assert not truths & {word.lower() for word in words}, path


def everywhere() -> list[Any]:
    return [pytest.param(schema, id=f"{kind}{path}") for kind in SPECS for path, schema in walk(root_of(kind))]


@pytest.mark.parametrize("schema", everywhere())
def test_schema_is_structural_and_bounded(schema: Schema) -> None:
    assert not FORBIDDEN & schema.keys()
    assert "x-kubernetes-preserve-unknown-fields" not in schema
    if schema.get("x-kubernetes-int-or-string"):
        assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        assert schema["maxLength"] <= 64
        return
    assert "anyOf" not in schema
    match schema["type"]:
        case "string":
            assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
        case "array":
            assert schema["maxItems"] <= 500
            assert schema["x-kubernetes-list-type"] in ("atomic", "set", "map")
            if schema["x-kubernetes-list-type"] == "map":
                assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"])
        case "integer":
            assert schema["format"] in ("int32", "int64")
        case kind:
            assert kind in ("object", "boolean")
    assert None not in (schema.get("default") or {"": 0}).values() if isinstance(schema.get("default"), dict) else True


@pytest.mark.parametrize("schema", everywhere())
def test_every_field_is_described(schema: Schema) -> None:
    if "properties" in schema:
        for name, each in schema["properties"].items():
            assert name in ("apiVersion", "kind", "metadata") or len(each["description"]) > 10


def test_crds_say_what_kubernetes_and_people_need() -> None:
    for name, crd in crds().items():
        (version,) = crd["spec"]["versions"]
        assert name == f"{crd['metadata']['name']}.yaml"
        assert crd["spec"]["names"]["categories"] == ["dicom"]
        assert version["subresources"] == {"status": {}}
        status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert status["default"] == {"observedGeneration": -1}
        assert status["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
        for column in [*version["additionalPrinterColumns"], *version.get("selectableFields", [])]:
            path = re.sub(r"\[\?\(.*\)\]", "[]", column["jsonPath"])
            known = {path for path, _ in walk(version["schema"]["openAPIV3Schema"])}
            assert path in known or path == ".metadata.creationTimestamp"
    job = crds()["transferjobs.adit.dev.yaml"]["spec"]["versions"][0]
    assert [each["jsonPath"] for each in job["selectableFields"]] == [".spec.source.node", ".spec.destination.node"]


def test_the_files_in_crds_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert written == {name: text_of(crd) for name, crd in crds().items()}, "run: adit crds --out crds"


def test_the_text_is_plain_yaml_without_aliases() -> None:
    for crd in crds().values():
        assert yaml.safe_load(text_of(crd)) == crd
        assert not re.search(r"[&*]id[0-9]", text_of(crd))


# --- CEL and the models' validators: one verdict ---


def defaulted(schema: Schema, value: Any) -> Any:
    """The value as the API server sees it: defaults filled in before any rule runs."""
    if isinstance(value, dict):
        value = dict(value)
        for name, each in schema.get("properties", {}).items():
            if name not in value and "default" in each:
                value[name] = deepcopy(each["default"])
            if name in value:
                value[name] = defaulted(each, value[name])
        return value
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), each) for each in value]
    return value


def refusals(schema: Schema, value: Any, old: Any = None) -> list[str]:
    """The messages of all CEL rules that refuse the value, at any depth."""
    found = []
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" in rule["rule"]:
            if old is None:
                continue
            verdict = cel.evaluate(rule["rule"], {"self": value, "oldSelf": old})
        else:
            verdict = cel.evaluate(rule["rule"], {"self": value})
        assert isinstance(verdict, bool)
        if not verdict:
            found.append(rule["message"])
    if isinstance(value, dict):
        for name, each in schema.get("properties", {}).items():
            if name in value:
                was = old.get(name) if isinstance(old, dict) else None
                found += refusals(each, value[name], was)
    if isinstance(value, list):
        found += [message for each in value for message in refusals(schema.get("items", {}), each)]
    return found


def cel_verdict(document: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    schema = root_of(document["kind"])
    return refusals(schema, defaulted(schema, document), None if old is None else defaulted(schema, old))


def model_verdict(document: dict[str, Any]) -> list[str]:
    try:
        MODELS[document["kind"]].model_validate(document)
    except ValidationError as errors:
        return [error["msg"].removeprefix("Value error, ") for error in errors.errors()]
    return []


MODELS: dict[str, type[TransferJob] | type[DicomNode] | type[DeidProfile]] = {
    "TransferJob": TransferJob,
    "DicomNode": DicomNode,
    "DeidProfile": DeidProfile,
}
PAST_US = "source.direct sends instances past us, unchanged: neither deidentification nor trial may be given"
ONE_KIND = "exactly one of dimse, dicomWeb, folder, s3 must be given, or dimse and dicomWeb together"
ONE_KIND_OF_DATES = "RetainLongitudinalFullDates and RetainLongitudinalModifiedDates exclude each other"
ONE_SELECTOR = "exactly one of tag, keyword, path, privateCreator must be given"
ONE_COMPARISON = "exactly one of equals, startsWith, contains, matches must be given"
VALUE = "value must be given for Replace and Template, and for no other action"
TEST: dict[str, Any] = {"attribute": "Modality", "startsWith": "US"}
BOX: dict[str, Any] = {"left": 0, "top": 0, "height": 40}
WEB: dict[str, Any] = {"url": "https://pacs.example.org/dicom-web"}
WHO: dict[str, Any] = {"secretName": "a"}
NAMED = "headerName must be given with scheme Header, and only then"
UUID = "0d9f0b6e-3c1c-4f0e-9a57-2f0c5f4f7a11"
CORPUS: list[tuple[str, dict[str, Any], str | None]] = [
    ("TransferJob", {}, None),
    ("TransferJob", {"destination.node": "pacs"}, "source and destination must be different nodes"),
    ("TransferJob", {"selection": {"failedOf": {"name": "a"}}}, None),
    (
        "TransferJob",
        {"selection": {"failedOf": {"name": "x"}}},
        "selection.failedOf must name another job, one that has ended",
    ),
    ("TransferJob", {"selection": {}}, "exactly one of studies, list, failedOf must be given"),
    ("TransferJob", {"selection.failedOf": {"name": "a"}}, "exactly one of studies, list, failedOf must be given"),
    ("TransferJob", {"selection": {"list": {"name": "a"}}}, None),
    ("TransferJob", {"selection": {"list": {"id": UUID}}}, None),
    ("TransferJob", {"selection": {"list": {}}}, "exactly one of name, id must be given"),
    ("TransferJob", {"selection": {"list": {"name": "a", "id": UUID}}}, "exactly one of name, id must be given"),
    ("TransferJob", {"selection.list": {"name": "a"}}, "exactly one of studies, list, failedOf must be given"),
    ("TransferJob", {"trial": {}}, "at least one of protocolID, protocolName must be given"),
    ("TransferJob", {"trial": {"protocolID": "A"}}, None),
    ("TransferJob", {"source.direct": True}, None),
    ("TransferJob", {"source.direct": True, "trial": {"protocolID": "A"}}, PAST_US),
    ("TransferJob", {"source.direct": True, "deidentification": {"profile": "a"}}, PAST_US),
    ("TransferJob", {"source.direct": False, "deidentification": {"profile": "a"}}, None),
    ("TransferJob", {"trial": {"protocolName": "A"}}, None),
    ("TransferJob", {"retry": {}}, None),
    ("TransferJob", {"retry": {"backoffSeconds": 1800}}, None),
    ("TransferJob", {"retry": {"backoffSeconds": 1801}}, "maxBackoffSeconds must be at least backoffSeconds"),
    ("TransferJob", {"retry": {"maxBackoffSeconds": 29}}, "maxBackoffSeconds must be at least backoffSeconds"),
    ("DicomNode", {}, None),
    ("DicomNode", {"dimse": GONE}, ONE_KIND),
    ("DicomNode", {"folder": {"path": "/d"}}, ONE_KIND),
    ("DicomNode", {"dimse": GONE, "folder": {"path": "/d"}}, None),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB}, None),
    ("DicomNode", {"dicomWeb": WEB}, None),
    ("DicomNode", {"dicomWeb": WEB, "folder": {"path": "/d"}}, ONE_KIND),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB, "folder": {"path": "/d"}}, ONE_KIND),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB | {"tls": {"secretName": "a"}}}, None),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": {"url": "http://a", "tls": {"secretName": "a"}}},
        "tls needs a url that begins with https:",
    ),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB | {"credentials": WHO | {"scheme": "Bearer"}}}, None),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": WEB | {"credentials": WHO | {"headerName": "X", "scheme": "Header"}}},
        None,
    ),
    ("DicomNode", {"dimse": GONE, "dicomWeb": WEB | {"credentials": WHO | {"scheme": "Header"}}}, NAMED),
    (
        "DicomNode",
        {"dimse": GONE, "dicomWeb": WEB | {"credentials": WHO | {"headerName": "X", "scheme": "Basic"}}},
        NAMED,
    ),
    ("DicomNode", {"s3": BUCKET}, ONE_KIND),
    ("DicomNode", {"dimse": GONE, "s3": BUCKET}, None),
    *(
        ("DicomNode", {"dimse": GONE, "s3": {**BUCKET, **more}}, rule)
        for more, rule in (
            ({"tls": {"secretName": "ca"}}, None),
            ({"tls": {"secretName": "ca"}, "endpoint": "https://lake"}, None),
            (
                {"tls": {"secretName": "ca"}, "endpoint": "http://lake"},
                "tls needs an endpoint that begins with https://",
            ),
            ({"encryption": {"method": "KMS", "keyID": "a"}}, None),
            ({"encryption": {"method": "KMS"}}, None),
            ({"encryption": {"method": "AES256", "keyID": "a"}}, "keyID is for the method KMS only"),
        )
    ),
    ("DicomNode", {"limits": {}}, None),
    ("DicomNode", {"limits": {"tasks": 8}}, None),
    ("DicomNode", {"limits": {"tasks": 9}}, "associations must be at least tasks: each task needs one"),
    ("DicomNode", {"limits": {"associations": 3}}, "associations must be at least tasks: each task needs one"),
    ("DicomNode", {"windows": [WINDOW]}, None),
    ("DicomNode", {"windows": [{**WINDOW, "from": "24:00"}]}, "from must be before 24:00"),
    ("DicomNode", {"windows": [WINDOW, {**WINDOW, "to": "20:00"}]}, "from and to must differ"),
    ("DicomNode", {"windows": [{**WINDOW, "to": "24:00"}]}, None),
    ("DicomNode", {"accepts": "Deidentified"}, None),
    ("TransferJob", {"deidentification": {"profile": "research"}}, None),
    ("DeidProfile", {}, None),
    ("DeidProfile", {"options": ["RetainLongitudinalFullDates", "CleanDescriptors"]}, None),
    ("DeidProfile", {"options": ["RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"]}, ONE_KIND_OF_DATES),
    *(
        ("DeidProfile", {"overrides": [override]}, rule)
        for override, rule in (
            ({"keyword": "PatientSex", "action": "Keep"}, None),
            ({"privateCreator": "SIEMENS CSA", "element": "0029xx10", "action": "Keep"}, None),
            ({"action": "Keep"}, ONE_SELECTOR),
            ({"keyword": "PatientSex", "tag": "00100040", "action": "Keep"}, ONE_SELECTOR),
            ({"tag": "00100040", "element": "0029xx10", "action": "Keep"}, "element needs privateCreator"),
            ({"keyword": "PatientSex", "action": "Replace", "value": "O"}, None),
            ({"keyword": "PatientSex", "action": "Replace", "value": ""}, None),
            ({"keyword": "PatientSex", "action": "Replace"}, VALUE),
            ({"keyword": "PatientSex", "action": "Keep", "value": "O"}, VALUE),
        )
    ),
    *(
        (
            "DeidProfile",
            {"pixels": {"deviceRules": [{"name": "a", "when": {"all": [TEST]}, "mask": [BOX]} | rule]}},
            why,
        )
        for rule, why in (
            ({}, None),
            ({"when": {"any": [TEST], "none": [TEST]}}, None),
            ({"when": {"none": [TEST]}}, "a condition needs at least one test in all or any"),
            ({"when": {"all": [], "any": []}}, "a condition needs at least one test in all or any"),
            ({"when": {"all": [{"attribute": "Modality"}]}}, ONE_COMPARISON),
            ({"when": {"any": [TEST | {"equals": "US"}]}}, ONE_COMPARISON),
            ({"action": "Pass"}, "exactly one of mask, maskExcept, action must be given"),
            ({"mask": [BOX | {"firstFrame": 2, "lastFrame": 2}]}, None),
            ({"mask": [BOX, BOX | {"firstFrame": 2, "lastFrame": 1}]}, "lastFrame must not be before firstFrame"),
        )
    ),
]


@pytest.mark.parametrize(("kind", "changes", "message"), CORPUS, ids=str)
def test_cel_and_model_agree(kind: str, changes: dict[str, Any], message: str | None) -> None:
    document = resource(kind, changed(SPECS[kind], changes))
    said_by_cel, said_by_model = cel_verdict(document), model_verdict(document)
    if message is None:
        assert (said_by_cel, said_by_model) == ([], [])
    else:
        assert said_by_cel == [message]
        assert len(said_by_model) == 1
        assert said_by_model[0].startswith(message)


FROZEN = "a finished job is frozen; make a new one with selection.failedOf"
OWNER = "owner cannot be changed; it is part of the names of folders"
SET_ONCE = "cancel is set once: unset, Drain, Terminate, never back"
CHANGES: list[tuple[dict[str, Any], dict[str, Any], bool, list[str]]] = [
    ({}, {}, False, []),
    ({}, {"source.node": "other"}, False, ["source cannot be changed"]),
    ({}, {"destination.node": "other"}, False, ["destination cannot be changed"]),
    ({}, {"selection.studies.0.studyInstanceUID": "1.2.4"}, False, ["selection cannot be changed"]),
    ({}, {"selection.studies.0.patientID": "7"}, False, ["selection cannot be changed"]),
    ({"selection": {"list": {"name": "a"}}}, {"selection": {"list": {"name": "a"}}}, False, []),
    (
        {"selection": {"list": {"name": "a"}}},
        {"selection": {"list": {"name": "b"}}},
        False,
        ["selection cannot be changed"],
    ),
    ({}, {"trial": {"protocolID": "A"}}, False, ["trial cannot be changed"]),
    ({"trial": {"protocolID": "A"}}, {}, False, ["trial cannot be changed"]),
    ({"trial": {"protocolID": "A"}}, {"trial": {"protocolID": "B"}}, False, ["trial cannot be changed"]),
    ({"trial": {"protocolID": "A"}}, {"trial": {"protocolID": "A"}}, False, []),
    ({}, {"deidentification": {"profile": "a"}}, False, ["deidentification cannot be changed"]),
    ({"deidentification": {"profile": "a"}}, {}, False, ["deidentification cannot be changed"]),
    (
        {"deidentification": {"profile": "a"}},
        {"deidentification": {"profile": "b"}},
        False,
        ["deidentification cannot be changed"],
    ),
    ({"deidentification": {"profile": "a"}}, {"deidentification": {"profile": "a"}}, False, []),
    ({}, {"cancel": "Drain"}, False, []),
    ({}, {"cancel": "Terminate"}, False, []),
    ({"cancel": "Drain"}, {"cancel": "Terminate"}, False, []),
    ({"cancel": "Drain"}, {"cancel": "Drain"}, False, []),
    ({"cancel": "Drain"}, {}, False, [SET_ONCE]),
    ({"cancel": "Terminate"}, {"cancel": "Drain"}, False, [SET_ONCE]),
    ({}, {"parallelism": 3, "priority": "Urgent", "suspend": True, "deadlineSeconds": 9}, False, []),
    ({}, {"owner": "b"}, False, [OWNER]),
    ({"owner": "b"}, {"owner": "c"}, False, [OWNER]),
    ({"owner": "b"}, {"owner": "b"}, False, []),
    ({}, {"parallelism": 3}, True, [FROZEN]),
    ({}, {"priority": "High"}, True, [FROZEN]),
    ({}, {"retry": {"maxAttempts": 7}}, True, [FROZEN]),
    ({}, {"suspend": True, "cancel": "Drain", "deadlineSeconds": 9}, True, []),
    ({}, {"retention": {"instancesSeconds": 9}}, True, []),
]


@pytest.mark.parametrize(("before", "after", "finished", "messages"), CHANGES, ids=str)
def test_cel_and_ledger_agree_on_changes(
    before: dict[str, Any], after: dict[str, Any], finished: bool, messages: list[str]
) -> None:
    old, new = (resource("TransferJob", changed(JOB, changes)) for changes in (before, after))
    said_by_ledger = ledger_verdict(old, new, finished=finished)
    if finished:
        old["status"] = new["status"] = {"completionTime": "2026-11-22T00:00:00Z"}
    assert cel_verdict(new, old) == messages
    assert said_by_ledger == bool(messages)


def ledger_verdict(old: dict[str, Any], new: dict[str, Any], *, finished: bool) -> bool:
    """Whether the ledger, which stands in for the API server on one machine, refuses the change."""
    try:
        check_change(TransferJob.model_validate(old), TransferJob.model_validate(new), finished=finished)
    except ResourceConflict:
        return True
    return False


def test_every_rule_is_in_a_corpus() -> None:
    tried = {message for _, _, message in CORPUS} | {message for *_, messages in CHANGES for message in messages}
    rules = [
        rule["message"]
        for kind in SPECS
        for _, schema in walk(root_of(kind))
        for rule in schema.get("x-kubernetes-validations", [])
    ]
    assert set(rules) == tried - {None}


def test_rules_cost_little() -> None:
    """A rule runs once for each object it stands at; none of them loops over a list of the resource."""
    for kind in SPECS:
        for path, schema in walk(root_of(kind)):
            for rule in schema.get("x-kubernetes-validations", []):
                times = 1
                inside = root_of(kind)
                for step in filter(None, re.split(r"\.|(\[\])", path)):
                    if step == "[]":
                        times *= inside["maxItems"]
                        inside = inside["items"]
                    else:
                        inside = inside["properties"][step]
                assert times <= CHEAP
                loops = re.findall(r"([\w.\])]+)\.(?:all|exists|exists_one|map|filter)\(", rule["rule"])
                assert all(loop.endswith("]") or loop.endswith(")]") for loop in loops), rule["rule"]
