"""Wrong resources of each kind: refused by the API server with the field's name, or told with the cure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from adit.deid.profiles import names, ready
from tests.cluster.installation import Installation
from tests.cluster.kubernetes import KubectlError, Kubernetes, eventually
from tests.unit.model.specs import GONE, JOB, NODE, PROFILE, WINDOW, changed, resource

STUDY = "selection.studies.0"
REFUSED_JOBS: list[tuple[dict[str, Any], str]] = [
    ({"source": GONE}, "spec.source"),
    ({"source.node": GONE}, "spec.source.node"),
    ({"source.node": "Radiology PACS"}, "spec.source.node"),
    ({"source.node": ""}, "spec.source.node"),
    ({"destination": GONE}, "spec.destination"),
    ({"destination.node": "pacs"}, "spec.destination"),
    ({"selection": GONE}, "spec.selection"),
    ({"selection.studies": GONE}, "spec.selection"),
    ({"selection.studies": []}, "spec.selection.studies"),
    ({"selection.failedOf": {"name": "other"}}, "spec.selection"),
    ({"selection.studies": GONE, "selection.failedOf": {}}, "spec.selection.failedOf.name"),
    ({"selection.studies": GONE, "selection.failedOf": {"name": "x"}}, "spec.selection.failedOf.name"),
    ({"selection.studies": [{"studyInstanceUID": "1.2"}] * 2}, "spec.selection.studies"),
    ({"selection.studies": [{"studyInstanceUID": f"1.2.{n}"} for n in range(501)]}, "spec.selection.studies"),
    ({f"{STUDY}.studyInstanceUID": GONE}, "studyInstanceUID"),
    ({f"{STUDY}.studyInstanceUID": "1.2.x"}, "studyInstanceUID"),
    ({f"{STUDY}.studyInstanceUID": "1." * 33}, "studyInstanceUID"),
    ({f"{STUDY}.studyInstanceUID": 12}, "studyInstanceUID"),
    ({f"{STUDY}.studyInstanceUID": "*"}, "studyInstanceUID"),
    ({f"{STUDY}.patientID": "x" * 65}, "patientID"),
    ({f"{STUDY}.patientID": "a\\b"}, "patientID"),
    ({f"{STUDY}.seriesInstanceUIDs": []}, "seriesInstanceUIDs"),
    ({f"{STUDY}.seriesInstanceUIDs": ["1.2", "1.2"]}, "seriesInstanceUIDs"),
    ({f"{STUDY}.seriesUIDs": ["1.2"]}, "seriesUIDs"),
    ({f"{STUDY}.pseudonym": "x" * 65}, "pseudonym"),
    ({"trial": {}}, "spec.trial"),
    ({"trial.protocolID": "x" * 65}, "spec.trial.protocolID"),
    ({"priority": "Highest"}, "spec.priority"),
    ({"parallelism": 0}, "spec.parallelism"),
    ({"parallelism": 501}, "spec.parallelism"),
    ({"parallelism": "many"}, "spec.parallelism"),
    ({"retry.maxAttempts": 0}, "spec.retry.maxAttempts"),
    ({"retry": {"backoffSeconds": 100, "maxBackoffSeconds": 10}}, "spec.retry"),
    ({"deadlineSeconds": 0}, "spec.deadlineSeconds"),
    ({"cancel": "Now"}, "spec.cancel"),
    ({"suspend": "yes"}, "spec.suspend"),
    ({"retention.instancesSeconds": -1}, "spec.retention.instancesSeconds"),
    ({"owner": "Dr. Who"}, "spec.owner"),
    ({"deidentification": {}}, "spec.deidentification.profile"),
    ({"deidentification": {"profile": "My Profile"}}, "spec.deidentification.profile"),
    ({"deidentification": {"profile": "basic", "pseudonym": "x"}}, "pseudonym"),
]
REFUSED_NODES: list[tuple[dict[str, Any], str]] = [
    ({"dimse": GONE}, "spec"),
    ({"folder": {"path": "/data"}}, "spec"),
    ({"dimse.aeTitle": GONE}, "spec.dimse.aeTitle"),
    ({"dimse.aeTitle": "SEVENTEEN LETTERS"}, "spec.dimse.aeTitle"),
    ({"dimse.aeTitle": ""}, "spec.dimse.aeTitle"),
    ({"dimse.host": GONE}, "spec.dimse.host"),
    ({"dimse.host": "http://pacs"}, "spec.dimse.host"),
    ({"dimse.port": 0}, "spec.dimse.port"),
    ({"dimse.port": 70000}, "spec.dimse.port"),
    ({"dimse.port": "dicom"}, "spec.dimse.port"),
    ({"dimse.services": []}, "spec.dimse.services"),
    ({"dimse.services": ["Storage", "Storage"]}, "spec.dimse.services"),
    ({"dimse.services": ["Everything"]}, "spec.dimse.services"),
    ({"dimse.tls": {}}, "spec.dimse.tls.secretName"),
    ({"dimse.timeouts.connectSeconds": 0}, "spec.dimse.timeouts.connectSeconds"),
    ({"dimse": GONE, "folder": {"path": "relative"}}, "spec.folder.path"),
    ({"limits.tasks": 0}, "spec.limits.tasks"),
    ({"limits": {"tasks": 9, "associations": 8}}, "spec.limits.associations"),
    ({"limits.bytesPerSecond": "fast"}, "spec.limits.bytesPerSecond"),
    ({"limits.queriesPerSecond": 0}, "spec.limits.queriesPerSecond"),
    ({"windows": [WINDOW | {"from": "25:00"}]}, "spec.windows[0].from"),
    ({"windows": [WINDOW | {"to": "20:00"}]}, "spec.windows[0].to"),
    ({"windows": [WINDOW | {"days": ["Someday"]}]}, "spec.windows[0].days"),
    ({"windows": [{"from": "20:00"}]}, "spec.windows[0].to"),
    ({"accepts": "Originals"}, "spec.accepts"),
    ({"accepts": ["Deidentified"]}, "spec.accepts"),
]
KEEP: dict[str, Any] = {"keyword": "PatientSex", "action": "Keep"}
RULE: dict[str, Any] = {"name": "a", "when": {"all": [{"attribute": "Modality", "equals": "US"}]}, "action": "Pass"}
REFUSED_PROFILES: list[tuple[dict[str, Any], str]] = [
    ({"key": GONE}, "spec.key"),
    ({"key": {}}, "spec.key.secretName"),
    ({"key.secretName": "My Secret"}, "spec.key.secretName"),
    ({"key.value": "c2VjcmV0"}, "spec.key.value"),
    ({"project": "Stroke 2026"}, "spec.project"),
    ({"options": ["RetainEverything"]}, "spec.options"),
    ({"options": ["CleanGraphics", "CleanGraphics"]}, "spec.options"),
    ({"options": ["RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"]}, "spec.options"),
    ({"overrides": [{"action": "Keep"}]}, "spec.overrides[0]"),
    ({"overrides": [KEEP, KEEP | {"tag": "00100040"}]}, "spec.overrides[1]"),
    ({"overrides": [{"tag": "0010,0040", "action": "Keep"}]}, "spec.overrides[0].tag"),
    ({"overrides": [{"tag": "0010004a", "action": "Keep"}]}, "spec.overrides[0].tag"),
    ({"overrides": [{"keyword": "patientSex", "action": "Keep"}]}, "spec.overrides[0].keyword"),
    ({"overrides": [{"path": "A..B", "action": "Keep"}]}, "spec.overrides[0].path"),
    ({"overrides": [KEEP | {"action": "Delete"}]}, "spec.overrides[0].action"),
    ({"overrides": [KEEP | {"action": "Replace"}]}, "spec.overrides[0]"),
    ({"overrides": [KEEP | {"value": "O"}]}, "spec.overrides[0]"),
    ({"overrides": [KEEP | {"element": "0019xx0C"}]}, "spec.overrides[0]"),
    ({"overrides": [{"privateCreator": "A", "element": "0018xx0C", "action": "Keep"}]}, "spec.overrides[0].element"),
    ({"overrides": [KEEP | {"sopClass": "1.2.x"}]}, "spec.overrides[0].sopClass"),
    ({"overrides": [KEEP] * 201}, "spec.overrides"),
    ({"overrides": [KEEP | {"script": "rm -rf /"}]}, "script"),
    ({"pixels.burnedInUnknown": "Ignore"}, "spec.pixels.burnedInUnknown"),
    ({"pixels.deviceRules": [RULE, RULE]}, "spec.pixels.deviceRules"),
    ({"pixels.deviceRules": [RULE | {"mask": [{"left": 0, "top": 0}]}]}, "spec.pixels.deviceRules[0]"),
    ({"pixels.deviceRules": [RULE | {"when": {}}]}, "spec.pixels.deviceRules[0].when"),
    ({"pixels.deviceRules": [RULE | {"when": {"all": [{"attribute": "PatientName", "equals": "A"}]}}]}, "attribute"),
    ({"pixels.deviceRules": [RULE | {"when": {"all": [{"attribute": "Modality"}]}}]}, "when.all[0]"),
    ({"excludedModalities": ["pr"]}, "spec.excludedModalities[0]"),
    ({"excludedSOPClasses": ["1.2", "1.2"]}, "spec.excludedSOPClasses"),
]
CASES = [
    *(("TransferJob", JOB, *case) for case in REFUSED_JOBS),
    *(("DicomNode", NODE, *case) for case in REFUSED_NODES),
    *(("DeidProfile", PROFILE, *case) for case in REFUSED_PROFILES),
]


@pytest.fixture(scope="module")
def crds(kubernetes: Kubernetes) -> None:
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
    kinds = ("transferjobs.adit.dev", "dicomnodes.adit.dev", "deidprofiles.adit.dev")
    kubernetes.kubectl("wait", "--for=condition=Established", "crd", *kinds)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(("kind", "good", "changes", "field"), CASES, ids=lambda value: str(value)[:60])
def test_the_api_server_refuses_it_and_names_the_field(
    kubernetes: Kubernetes, kind: str, good: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    bad = resource(kind, changed(good, changes))
    with pytest.raises(KubectlError) as refusal:
        kubernetes.kubectl("create", "--dry-run=server", "-f", "-", document=bad)
    assert field in str(refusal.value)


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("name", names())
def test_the_api_server_takes_every_ready_profile(kubernetes: Kubernetes, name: str) -> None:
    document = ready(name).model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    document |= {"apiVersion": "adit.dev/v1alpha1", "kind": "DeidProfile"}
    kubernetes.kubectl("create", "--dry-run=server", "-f", "-", document=document)


@pytest.mark.usefixtures("crds")
def test_a_profile_as_large_as_it_may_be_is_taken(kubernetes: Kubernetes) -> None:
    """The rules' costs are reckoned for the largest resource there may be."""
    tests = [{"attribute": "Modality", "equals": "US"}] * 16
    boxes = [{"left": 0, "top": 0, "width": 1, "height": 1, "firstFrame": 1, "lastFrame": 2}] * 32
    rules = [
        {"name": f"rule-{number}", "when": {"all": tests, "any": tests, "none": tests[:1]}, "mask": boxes}
        for number in range(200)
    ]
    overrides = [{"privateCreator": "A" * 64, "element": "0019xx0C", "action": "Replace", "value": "x" * 100}] * 200
    spec = PROFILE | {"overrides": overrides, "pixels": {"deviceRules": rules}}
    kubernetes.kubectl("create", "--dry-run=server", "-f", "-", document=resource("DeidProfile", spec))


def test_forty_at_least() -> None:
    assert len(CASES) >= 40


def test_what_only_we_can_judge_is_told_with_field_and_cure(installation: Installation) -> None:
    """It passes the schema; the operator says in the status what is wrong, and nothing runs."""
    odd = resource("DicomNode", changed(NODE, {"windows": [WINDOW | {"timeZone": "Europe/Nowhere"}]}))
    odd["metadata"] = {"name": "odd"}
    misspelt = changed(PROFILE, {"overrides": [{"keyword": "PatientNam", "action": "Keep"}]})
    unusable = resource("DeidProfile", misspelt)
    unusable["metadata"] = {"name": "unusable"}
    installation.apply(odd, unusable)
    asked = {"studies": [{"studyInstanceUID": "1.2.3", "pseudonym": "Zebra-1"}]}
    pseudonym = installation.job("1.2.3", selection=asked)
    unprofiled = installation.job("1.2.3", selection=asked, deidentification={"profile": "no-such-profile"})
    originals = installation.job(
        "1.2.3", destination={"node": installation.node("copies-research", accepts="Deidentified")}
    )
    nodeless = installation.job("1.2.3", source={"node": "no-such-node"})
    haunted = installation.job("1.2.3", selection={"failedOf": {"name": "ghost"}})

    def accepted(kind: str, name: str) -> dict[str, Any]:
        conditions = installation.get(kind, name).get("status", {}).get("conditions", ())
        return next((each for each in conditions if each["type"] == "Accepted"), {})

    for kind, name, reason, words in (
        ("dicomnode", "odd", "Invalid", ("timeZone",)),
        ("transferjob", pseudonym.name, "DeidentificationUnavailable", ("pseudonym",)),
        ("deidprofile", "unusable", "Invalid", ("spec.overrides[0]", "PatientNam")),
        ("transferjob", unprofiled.name, "ProfileNotFound", ("spec.deidentification.profile", "no-such-profile")),
        ("transferjob", originals.name, "DeidentificationUnavailable", ("spec.deidentification", "copies-research")),
        ("transferjob", nodeless.name, "NodeNotFound", ("spec.source.node", "no-such-node")),
        ("transferjob", haunted.name, "JobNotFound", ("spec.selection.failedOf.name", "ghost")),
    ):
        refused = partial(_is_refused, accepted, kind, name)
        eventually(f"{name} is judged", refused)
        condition = accepted(kind, name)
        assert condition["reason"] == reason
        assert all(word in condition["message"] for word in words)
        assert "Zebra" not in condition["message"]
    assert installation.get("jobs", labels="app.kubernetes.io/component=worker") == []


def _is_refused(accepted: Callable[[str, str], dict[str, Any]], kind: str, name: str) -> bool:
    return accepted(kind, name).get("status") == "False"
