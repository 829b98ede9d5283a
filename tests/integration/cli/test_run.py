"""`adit run` against two real Orthancs: its counts are theirs, its exit codes and its JSON can be relied on."""

from __future__ import annotations

import json
import signal

import pytest
from pydicom import dcmread

from adit.ledger.ledger import Ledger
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import Hospital, document, documents, job
from tests.integration.transfer.planted import KEY, is_clean, planted, presentation_state
from tests.peers.server_process import free_port, wait_until
from tests.samples import Study, ct_study

SLOW = {"bytesPerSecond": 150_000}
"""One image of `big_study` a third of a second."""


def test_green_run_shows_what_orthanc_shows(adit: Adit, orthancs: Hospital) -> None:
    studies = [ct_study(3, seed="run-a", series=2), ct_study(2, seed="run-b")]
    orthancs.source.upload(*(file for study in studies for file in study.files()))
    adit.write("nodes.yaml", orthancs.nodes())
    adit.write("job.yaml", job("green", *studies))

    ended = adit("run", "nodes.yaml", "job.yaml", "--manifest", "proof.json")

    assert ended.code == 0, ended.err
    assert "transferjob.adit.dev/green created" in ended.err
    assert "green: Success. All tasks succeeded. 8 of 8 instances verified" in ended.err
    proof = ended.json  # standard output is nothing but the proof
    assert json.loads((adit.folder / "proof.json").read_text()) == proof
    proven = {
        task["studyInstanceUID"]: {each["sopInstanceUID"] for each in task["instances"] if each["state"] == "Verified"}
        for task in proof["tasks"]
    }
    by_orthanc = {
        study.study_instance_uid: orthancs.destination.instances_of(study.study_instance_uid) for study in studies
    }
    assert proven == by_orthanc == {study.study_instance_uid: study.sop_instance_uids for study in studies}


def test_a_finished_job_is_frozen_and_shown_again(adit: Adit, orthancs: Hospital) -> None:
    study = ct_study(2, seed="frozen", patient_id="FROZEN-PATIENT")
    orthancs.source.upload(*study.files())
    manifest = orthancs.nodes() + job("frozen", study)
    first = adit("run", "-", stdin=manifest)
    for instance in study.sop_instance_uids:
        orthancs.destination.delete_instance(instance)

    again = adit("run", adit.write("job.yaml", manifest), "-o", "table")

    assert (first.code, again.code) == (0, 0), again.err
    assert "frozen had finished before and is frozen; nothing was sent now" in again.err
    assert f"{study.study_instance_uid}  Success" in again.out
    kept = json.loads((adit.folder / "data/manifests/default.frozen.json").read_text())
    assert kept == first.json
    assert study.patient_id not in json.dumps(kept)
    assert orthancs.destination.instances_of(study.study_instance_uid) == set()


@pytest.mark.parametrize("command", ["run", "apply"])
def test_nothing_is_created_when_anything_is_wrong(
    adit: Adit, orthancs: Hospital, ledger: Ledger, command: str
) -> None:
    adit.write("good.yaml", orthancs.nodes() + job("good", "1.2.3"))
    adit.write("bad.yaml", job("bad", "1.2.x", parallelism=0) + documents(document("Job", "x", {})))
    ended = adit(command, "good.yaml", "bad.yaml", "missing.yaml")
    assert ended.code == 2
    assert ended.out == ""
    for told in (
        "missing.yaml: cannot be read: No such file or directory",
        "bad.yaml:2 (document 1): spec.selection.studies[0].studyInstanceUID: must be a DICOM UID",
        "bad.yaml:2 (document 1): spec.parallelism: must be at least 1, not 0",
        "bad.yaml:4 (document 2): kind: must be TransferJob, DicomNode or DeidProfile",
        "Nothing was created.",
    ):
        assert told in ended.err
    if command == "run":
        homeless = adit("run", "good.yaml", "--manifest", "nowhere/proof.json")
        assert (homeless.code, homeless.out) == (2, "")
        assert "there is no folder nowhere" in homeless.err
    assert (ledger.nodes(), ledger.jobs()) == ([], [])


def test_what_cannot_run_is_refused_before_anything_is_created(adit: Adit, orthancs: Hospital, ledger: Ledger) -> None:
    pseudonym = {"studies": [{"studyInstanceUID": "1.2.3", "patientID": "SECRET-7", "pseudonym": "P-1"}]}
    text = orthancs.nodes() + job("copy", selection=pseudonym) + job("nowhere", "1.2.3", destination="moon")
    text += job("unmade", "1.2.3", deidentification={"profile": "research"})
    misspelt = {"key": {"secretName": "key"}, "overrides": [{"keyword": "PatientNam", "action": "Keep"}]}
    text += documents(document("DeidProfile", "misspelt", misspelt))
    ended = adit("run", adit.write("job.yaml", text))
    assert ended.code == 2
    assert "transferjob.adit.dev/copy: DeidentificationUnavailable" in ended.err
    assert "transferjob.adit.dev/nowhere: NodeNotFound" in ended.err
    assert "transferjob.adit.dev/unmade: ProfileNotFound: spec.deidentification.profile" in ended.err
    assert "deidprofile.adit.dev/misspelt: spec.overrides[0]: there is no attribute PatientNam" in ended.err
    assert "SECRET-7" not in ended.err
    assert (ledger.nodes(), ledger.profiles(), ledger.jobs()) == ([], [], [])


def test_a_job_that_waits_for_its_profile_says_so(adit: Adit, orthancs: Hospital, ledger: Ledger) -> None:
    text = orthancs.nodes() + job("copy", "1.2.3", deidentification={"profile": "research"})
    assert adit("apply", adit.write("job.yaml", text)).code == 0
    assert "waits for DeidProfile research" in adit("status").out
    profile = documents(document("DeidProfile", "research", {"key": {"secretName": "key"}}))
    assert "deidprofile.adit.dev/research created" in adit("apply", adit.write("profile.yaml", profile)).out
    assert "waits for" not in adit("status").out
    assert [each.key for each in ledger.profiles()] == [("default", "research")]


def test_a_change_that_is_not_allowed_changes_nothing_else(adit: Adit, orthancs: Hospital, ledger: Ledger) -> None:
    assert adit("apply", adit.write("job.yaml", orthancs.nodes() + job("fixed", "1.2.3"))).code == 0
    ended = adit("apply", adit.write("job.yaml", job("new", "1.2.3") + job("fixed", "1.2.4")))
    assert ended.code == 2
    assert "spec.selection: selection cannot be changed" in ended.err
    assert ledger.job(("default", "new")) is None


def test_a_missing_study_fails_and_can_be_retried_alone(adit: Adit, orthancs: Hospital) -> None:
    there, late = ct_study(2, seed="there"), ct_study(3, seed="late")
    orthancs.source.upload(*there.files())
    adit("apply", adit.write("other.yaml", orthancs.nodes() + job("other", there)))
    failed = adit("run", adit.write("job.yaml", job("first", there, late)), "-o", "table")
    assert failed.code == 1
    assert "StudyNotFound" in failed.out
    assert "first: Failure. Some tasks failed." in failed.out

    orthancs.source.upload(*late.files())
    again = adit("run", adit.write("again.yaml", job("second", selection={"failedOf": {"name": "first"}})))
    states = {each["name"]: each["state"] for each in adit("status", "-o", "json").json}

    assert states == {"second": "Success", "first": "Failure", "other": "Pending"}  # nobody asked to run that one
    assert again.code == 0, again.err
    assert [task["studyInstanceUID"] for task in again.json["tasks"]] == [late.study_instance_uid]
    assert orthancs.destination.instances_of(late.study_instance_uid) == late.sop_instance_uids


def test_what_cannot_be_proven_is_a_warning(adit: Adit, orthancs: Hospital) -> None:
    study = ct_study(1, seed="unprovable")
    orthancs.source.upload(*study.files())
    text = orthancs.nodes(services=["Verification", "Storage"]) + job("unprovable", study)
    ended = adit("run", adit.write("job.yaml", text))
    assert ended.code == 3
    assert "ArrivalNotProvable" in ended.err
    assert ended.json["job"]["state"] == "Warning"


@pytest.mark.parametrize("signals", [[signal.SIGHUP], [signal.SIGINT, signal.SIGINT]], ids=["once", "twice"])
def test_an_interrupted_run_goes_on_and_sends_nothing_twice(
    adit: Adit, orthancs: Hospital, ledger: Ledger, signals: list[signal.Signals]
) -> None:
    study = ct_study(20, seed=f"interrupted-{len(signals)}", size=160)
    orthancs.source.upload(*study.files())
    adit.write("job.yaml", job("interrupted", study))
    adit.write("nodes.yaml", orthancs.nodes(limits=SLOW))
    running = adit.start("run", "nodes.yaml", "job.yaml")
    wait_until(lambda: _stored(ledger) > 0, "an instance has been stored", 60)
    running.send_signal(signals[0])
    for number in signals[1:]:
        wait_until(lambda: "Stopping" in (running.stderr.readline() if running.stderr else ""), "it stops", 30)
        running.send_signal(number)
    ended = adit.end(running)

    assert ended.code == 130, ended.err
    assert "To go on: adit run nodes.yaml job.yaml" in ended.err
    assert not ledger.running()
    before = {each.sop_instance_uid for task in _tasks(ledger) for each in ledger.instances(task) if each.sha256}
    assert 0 < len(before) < 20

    adit.write("nodes.yaml", orthancs.nodes())
    again = adit("run", "nodes.yaml", "job.yaml")

    assert again.code == 0, again.err
    assert orthancs.destination.instances_of(study.study_instance_uid) == study.sop_instance_uids
    (task,) = again.json["tasks"]
    assert {each["state"] for each in task["instances"]} == {"Verified"}
    assert len(task["attempts"]) >= 2


def test_a_killed_run_goes_on(adit: Adit, orthancs: Hospital, ledger: Ledger) -> None:
    study = ct_study(12, seed="killed", size=160)
    orthancs.source.upload(*study.files())
    adit.write("job.yaml", orthancs.nodes(limits=SLOW) + job("killed", study))
    running = adit.start("run", "job.yaml")
    wait_until(lambda: _stored(ledger) > 0, "an instance has been stored", 60)
    assert adit.end(running, signal.SIGKILL).code == -signal.SIGKILL

    again = adit("run", "job.yaml")

    assert again.code == 0, again.err
    assert orthancs.destination.instances_of(study.study_instance_uid) == study.sop_instance_uids


def test_a_fault_that_is_tried_again_is_told_once_at_its_first_occurrence(adit: Adit, ledger: Ledger) -> None:
    port = free_port()
    gone = {"dimse": {"aeTitle": "GONE", "host": "127.0.0.1", "port": port}}
    text = documents(document("DicomNode", "gone", gone), document("DicomNode", "out", {"folder": {"path": "/tmp"}}))
    retry = {"maxAttempts": 10, "backoffSeconds": 60, "maxBackoffSeconds": 60}
    text += job("wrong-port", "1.2.3", source={"node": "gone"}, destination="out", retry=retry)
    running = adit.start("run", adit.write("job.yaml", text))
    assert running.stderr is not None
    said = ""
    while "Check the node's host and port" not in said:
        line = running.stderr.readline()
        assert line, said
        said += f" {line.strip()}"
    assert f"wrong-port: NodeUnreachable: Nothing answers at 127.0.0.1:{port}" in said
    ended = adit.end(running, signal.SIGINT)
    assert "Check the node's host and port" not in ended.err.partition("Stopping")[0]


def _stored(ledger: Ledger) -> int:
    return sum(ledger.summary(record.id).stored for record in ledger.jobs())


def _tasks(ledger: Ledger) -> list[int]:
    return [task.id for record in ledger.jobs() for task in ledger.tasks(record.id)]


def test_a_proof_that_cannot_be_written_is_no_refusal_and_not_green(adit: Adit, orthancs: Hospital) -> None:
    one, other = ct_study(1, seed="unwritten"), ct_study(1, seed="unwritten-too")
    orthancs.source.upload(*one.files(), *other.files())
    adit.write("two.yaml", orthancs.nodes() + job("unwritten", one) + job("unwritten-too", other))

    full = adit("run", "two.yaml", "--manifest", "/dev/full")
    assert full.code == 1, full.err
    assert "unwritten: Success" in full.err
    assert "The proof could not be written" in full.err
    assert [proof["job"]["name"] for proof in full.json] == ["unwritten", "unwritten-too"]  # one document

    (adit.folder / "blocked").mkdir()
    (adit.folder / "blocked/logs").touch()
    refused = adit("--data", "blocked", "run", "two.yaml")
    assert refused.code == 2
    assert "blocked/logs" in refused.err


def test_a_job_tells_what_was_done_to_its_instances(adit: Adit, ledger: Ledger) -> None:
    """From one folder into another, of which nothing that names anyone may come."""
    study = planted()
    Study((*study.instances, presentation_state())).write(adit.folder / "hospital")
    (adit.folder / "research").mkdir()
    (adit.folder / "secrets" / "key").mkdir(parents=True)
    (adit.folder / "secrets" / "key" / "key").write_bytes(KEY)
    profile = {"key": {"secretName": "key"}, "excludedModalities": ["PR"]}
    text = documents(
        document("DicomNode", "hospital", {"folder": {"path": str(adit.folder / "hospital")}}),
        document(
            "DicomNode", "research", {"accepts": "Deidentified", "folder": {"path": str(adit.folder / "research")}}
        ),
        document("DeidProfile", "stroke", profile),
    )
    text += job("copy", study, deidentification={"profile": "stroke"})
    file = adit.write("job.yaml", text)
    elsewhere = adit("run", file, ADIT_SECRETS=str(adit.folder / "nowhere"), KUBERNETES_SERVICE_HOST="")
    assert elsewhere.code == 2
    assert "the secret key of DeidProfile stroke has no key: there is no folder" in elsewhere.err
    assert f"{adit.folder / 'nowhere' / 'key'}. " in elsewhere.err
    assert "There is no TransferJob copy" in adit("status", "copy").err  # so that its name is free
    ended = adit("run", file, ADIT_SECRETS=str(adit.folder / "secrets"))
    assert ended.code == 0, ended.err
    assert "3 of 3 instances verified, 1 left out by the profile" in ended.err
    assert "3/3, 1 left out" in adit("status", "copy").out
    shown = adit("status", "copy", "-o", "json").json
    assert (shown["instances"]["leftOut"], shown["tasks"][0]["leftOut"]) == (1, 1)
    written = list((adit.folder / "research").rglob("*.dcm"))
    assert len(written) == 3
    assert all(is_clean(file.read_bytes(), study) and is_clean(str(file).encode(), study) for file in written)
    told = adit("deid", "report", "copy", "-o", "json").json
    [group] = told["profiles"]
    assert (group["profile"], group["project"], group["treated"], group["leftOut"]) == ("stroke", "stroke", 3, 1)
    assert group["actions"]["pseudonym"] == 6
    assert is_clean(json.dumps(told).encode(), study)
    assert "pseudonym" in adit("deid", "report", "copy").out
    sent = {each["sentAs"] for each in adit("manifest", "copy").json["tasks"][0]["instances"]} - {None}
    assert sent == {str(dcmread(file).SOPInstanceUID) for file in written}


def test_archives_of_its_own_need_their_password_and_no_other(adit: Adit) -> None:
    study = ct_study(2, seed="own-archive")
    study.write(adit.folder / "hospital")
    (adit.folder / "out").mkdir()
    nodes_own = {"path": str(adit.folder / "out"), "archive": {"format": "Zip", "secretName": "the-nodes"}}
    text = documents(
        document("DicomNode", "hospital", {"folder": {"path": str(adit.folder / "hospital")}}),
        document("DicomNode", "exports", {"folder": nodes_own}),
    )
    to = {"node": "exports", "archive": {"format": "SevenZip", "secretName": "for-dr-adams"}}
    file = adit.write("job.yaml", text + job("hand-over", study, destination=to))
    secrets = adit.folder / "secrets"
    lacking = adit("run", file, ADIT_SECRETS=str(secrets), KUBERNETES_SERVICE_HOST="")
    assert lacking.code == 2
    assert "the secret for-dr-adams of its destination.archive has no password: there is no folder" in lacking.err
    assert "the-nodes" not in lacking.err
    (secrets / "for-dr-adams").mkdir(parents=True)
    (secrets / "for-dr-adams" / "password").write_text("between-the-two-of-us")
    ended = adit("run", file, ADIT_SECRETS=str(secrets))
    assert ended.code == 0, ended.err
    assert len(list((adit.folder / "out").rglob("*.7z"))) == 1
