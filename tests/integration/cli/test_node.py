"""`adit node probe` and `find` on real peers, taken from a file or from the ledger."""

from __future__ import annotations

import json

from adit.ledger.ledger import Ledger
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import Hospital, document, documents, job
from tests.peers import ScriptedSCP
from tests.peers.server_process import free_port
from tests.samples import ct_study


def test_probe_says_what_answers_and_what_is_offered(adit: Adit, orthancs: Hospital) -> None:
    gone = {"dimse": {"aeTitle": "GONE", "host": "127.0.0.1", "port": free_port()}}
    folder = document("DicomNode", "exports", {"folder": {"path": str(adit.folder)}})
    adit.write("nodes.yaml", orthancs.nodes() + documents(folder, document("DicomNode", "gone", gone)))

    every = adit("node", "probe", "nodes.yaml", "-o", "json")
    assert every.code == 1
    by_name = {each["node"]: each for each in every.json}
    assert by_name["hospital"]["reachable"]
    assert {"Verification", "StudyRootGet", "Storage"} <= set(by_name["hospital"]["services"])
    assert by_name["exports"]["services"] == ["Read", "Write"]
    assert by_name["gone"]["fault"]["code"] == "NodeUnreachable"

    told = adit("node", "probe", "hospital", "-f", "nodes.yaml").out
    (syntaxes,) = (line for line in told.splitlines() if "transfer syntaxes" in line)
    whole = by_name["hospital"]["detail"]["transfer syntaxes"].split("; ")
    assert (
        syntaxes.strip() == f"transfer syntaxes: {'; '.join(whole[:3])}; and {len(whole) - 3} more (-o json lists them)"
    )

    one = adit("node", "probe", "exports", "-f", "nodes.yaml")
    assert one.code == 0, one.err
    assert f"exports ({adit.folder}) answers" in one.out

    place = {"path": str(adit.folder), "archive": {"format": "Zip", "secretName": "hand-over"}}
    adit.write("archives.yaml", documents(document("DicomNode", "archives", {"folder": place})))
    locked = adit("node", "probe", "archives.yaml")
    assert locked.code == 1
    assert "Make the Secret with a key password" in " ".join(locked.out.split())

    secret = {"dimse": {"aeTitle": "PACS", "host": "127.0.0.1", "port": 104, "tls": {"secretName": "their-tls"}}}
    adit.write("tls.yaml", documents(document("DicomNode", "secure", secret)))
    unasked = adit("node", "probe", "tls.yaml", ADIT_SECRETS=str(adit.folder), KUBERNETES_SERVICE_HOST="")
    assert unasked.code == 1
    assert "was not asked: a Secret is missing" in unasked.out
    assert f"The secret their-tls lacks ca.crt: there is no folder {adit.folder / 'their-tls'}" in unasked.out

    unknown = adit("node", "probe", "moon")
    assert unknown.code == 2
    assert "There is no DicomNode moon in the ledger (there are: none)." in unknown.err
    misspelled = adit("node", "probe", "arcives", "-f", "archives.yaml")
    assert (
        "There is no DicomNode arcives in archives.yaml (there are: archives); did you mean archives?" in misspelled.err
    )
    keyless = adit("node", "find", "exports", "-f", "file.yaml", "-k", "PatientId=1003")
    assert "PatientId: is no DICOM keyword (PS3.6); did you mean PatientID?" in keyless.err


def test_probe_notes_what_is_offered_and_shows_how_the_roads_did(
    adit: Adit, orthancs: Hospital, ledger: Ledger
) -> None:
    study = ct_study(1, seed="probed-roads")
    orthancs.source.upload(*study.files())
    with ScriptedSCP(study.instances, aet="NO_GET", offers_get=False) as peer:
        face = {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port}
        lame = document("DicomNode", "lame", {"dimse": face})
        works = job("works", study)
        fails = job("fails", study, source={"node": "lame"}, retry={"maxAttempts": 1})
        adit.write("all.yaml", orthancs.nodes() + documents(lame) + works + fails)
        assert adit("apply", "all.yaml").code == 0
        before = adit("node", "probe", "hospital", "-o", "json")
        assert before.json[0]["roads"] == []
        noted = ledger.findings()["default", "hospital"]
        assert noted.probed_at is not None
        assert {"StudyRootFind", "StudyRootGet", "Storage"} <= set(noted.services)
        assert adit("run", "all.yaml").code == 1
        after = adit("node", "probe", "hospital")
        assert after.code == 0, after.err
        assert "C-GET works, as transfers saw at 20" in after.out
        lame_one = adit("node", "probe", "lame")
        assert lame_one.code == 3
        assert "C-GET fails (ServiceNotOffered), as transfers saw at 20" in lame_one.out
        [road] = adit("node", "probe", "lame", "-o", "json").json[0]["roads"]
        assert (road["name"], road["works"], road["fault"]) == ("C-GET", False, "ServiceNotOffered")
        elsewhere = adit("node", "probe", "hospital", "-f", "all.yaml", "-o", "json")
        assert elsewhere.json[0]["roads"] == []  # a node from a file is nobody's in the ledger


def test_find_shows_what_orthanc_holds(adit: Adit, orthancs: Hospital) -> None:
    study = ct_study(2, seed="find", series=2, patient_id="FIND-1", patient_name="Müller^Jörg", charset="ISO_IR 100")
    orthancs.source.upload(*study.files())
    assert adit("apply", adit.write("nodes.yaml", orthancs.nodes())).code == 0

    studies = adit("node", "find", "hospital", "-k", "PatientID=FIND-*", "-k", "StudyDate=20240101-", "-o", "json")
    assert studies.code == 0, studies.err
    (found,) = studies.json
    assert found["StudyInstanceUID"] == study.study_instance_uid
    assert found["PatientName"] == "Müller^Jörg"

    key = f"StudyInstanceUID={study.study_instance_uid}"
    series = adit("node", "find", "hospital", "--level", "series", "-k", key, "-r", "BodyPartExamined")
    assert series.code == 0, series.err
    assert all(uid in series.out for uid in study.series_instance_uids)
    assert "2 found" in series.err

    assert json.loads(adit("node", "find", "hospital", "-k", "PatientID=NOBODY", "-o", "json").out) == []
    for key in ("PatientID", "Patient=1"):
        refused = adit("node", "find", "hospital", "-k", key)
        assert refused.code == 2
        assert refused.out == ""


def test_find_on_a_node_that_is_away_names_it_and_the_cure(adit: Adit) -> None:
    gone = {"dimse": {"aeTitle": "GONE", "host": "127.0.0.1", "port": free_port()}}
    ended = adit("node", "find", "gone", "-f", adit.write("n.yaml", documents(document("DicomNode", "gone", gone))))
    assert ended.code == 1
    assert "NodeUnreachable" in ended.err
    assert "[node gone]" in ended.err
