"""Acceptance: every fault names the field, and only what others can mend is waited for."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from adit.dispatch.accept import accept, can_wait, missing_node
from adit.ledger.records import JobRecord, NodeKey, SelectionRecord
from adit.model.archive import Archive, ArchiveFormat
from adit.model.dicom_node import Accepts, DicomNode, Service
from adit.model.dicom_web import WebService
from adit.model.outcome import Fault, FaultCode
from adit.model.transfer_job import (
    DestinationReference,
    ListReference,
    ProfileReference,
    StudySelection,
    TransferJob,
    Trial,
)
from tests.unit.dispatch.nouns import (
    NOW,
    STUDY,
    dimse_node,
    folder_node,
    job_record,
    transfer_job,
    two_faced_node,
    web_node,
)


def nodes(*given: DicomNode) -> dict[NodeKey, DicomNode]:
    return {node.key: node for node in given}


BOTH = nodes(dimse_node("pacs"), dimse_node("research"))


def refused(job: TransferJob, given: dict[NodeKey, DicomNode], failed_job: JobRecord | None = None) -> Fault:
    fault = accept(job, given, failed_job)
    assert fault is not None
    return fault


def test_two_nodes_that_offer_what_is_needed_are_enough() -> None:
    assert accept(transfer_job(), BOTH) is None
    assert accept(transfer_job(), nodes(folder_node("pacs"), folder_node("research"))) is None


MOVER = dimse_node("pacs", (Service.STUDY_ROOT_FIND, Service.STUDY_ROOT_GET, Service.STUDY_ROOT_MOVE))


@pytest.mark.parametrize(
    ("source", "destination", "field", "says"),
    [
        (folder_node("pacs"), dimse_node("research"), "spec.source.node", "speaks no DIMSE"),
        (web_node("pacs"), dimse_node("research"), "spec.source.node", "speaks no DIMSE"),
        (MOVER, folder_node("research"), "spec.destination.node", "speaks no DIMSE"),
        (
            dimse_node("pacs"),
            dimse_node("research"),
            "spec.source.node",
            "does not offer PatientRootMove or StudyRootMove",
        ),
        (MOVER, dimse_node("research", (Service.STORAGE,)), "spec.destination.node", "is proven by a query"),
    ],
    ids=["folder", "web", "to a folder", "no move", "no proof"],
)
def test_the_road_past_us_needs_both_ends(source: DicomNode, destination: DicomNode, field: str, says: str) -> None:
    assert accept(transfer_job(direct=True), nodes(MOVER, dimse_node("research"))) is None
    fault = refused(transfer_job(direct=True), nodes(source, destination))
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert fault.message.startswith(field)
    assert says in fault.message


def test_archives_are_a_destination_only() -> None:
    archive = {"path": "/exports", "archive": {"format": "Zip", "secretName": "archives"}}
    exports, other = (
        DicomNode.model_validate({"metadata": {"name": name}, "spec": {"folder": archive}})
        for name in ("research", "pacs")
    )
    assert accept(transfer_job(), nodes(folder_node("pacs"), exports)) is None
    fault = refused(transfer_job(), nodes(other, exports))
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert fault.message.startswith("spec.source.node: DicomNode pacs makes archives")
    assert fault.node == "pacs"
    assert can_wait(fault)  # the node may be edited


@pytest.mark.parametrize(
    ("there", "field", "missing"),
    [("research", "spec.source.node", "pacs"), ("pacs", "spec.destination.node", "research")],
)
def test_a_missing_node_is_named_and_waited_for(there: str, field: str, missing: str) -> None:
    fault = refused(transfer_job(), nodes(folder_node(there)))
    assert fault.code is FaultCode.NODE_NOT_FOUND
    assert fault.message.startswith(field)
    assert fault.node == missing
    assert can_wait(fault)
    misspelled = refused(transfer_job(), nodes(folder_node(there), folder_node(f"{missing}-2")))
    assert misspelled.message.endswith(
        f"there is no DicomNode {missing} in namespace default; did you mean {missing}-2?"
    )


@pytest.mark.parametrize(
    ("source", "destination", "field", "needed"),
    [
        ((WebService.WADO,), (), "spec.source.node", "QIDO-RS"),
        ((WebService.QIDO,), (), "spec.source.node", "WADO-RS"),
        ((), (WebService.QIDO,), "spec.destination.node", "STOW-RS"),
    ],
)
def test_a_web_server_must_offer_what_is_needed(
    source: tuple[WebService, ...], destination: tuple[WebService, ...], field: str, needed: str
) -> None:
    assert accept(transfer_job(), nodes(web_node("pacs"), web_node("research"))) is None
    fault = refused(transfer_job(), nodes(web_node("pacs", *source), web_node("research", *destination)))
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert fault.message.startswith(field)
    assert f"does not offer {needed}," in fault.message
    assert "dicomWeb.services" in fault.cure


def test_what_one_face_lacks_the_other_may_offer() -> None:
    source = two_faced_node("pacs", (Service.PATIENT_ROOT_FIND,), (WebService.QIDO, WebService.WADO))
    destination = two_faced_node("research", (Service.VERIFICATION,), (WebService.STOW,))
    assert accept(transfer_job(), nodes(source, destination)) is None
    fault = refused(
        transfer_job(), nodes(source, two_faced_node("research", (Service.VERIFICATION,), (WebService.QIDO,)))
    )
    assert "does not offer STOW-RS or Storage," in fault.message
    silent = two_faced_node("pacs", (Service.STORAGE,), (WebService.WADO,))
    fault = refused(transfer_job(), nodes(silent, destination))
    assert "does not offer PatientRootFind or QIDO-RS or StudyRootFind," in fault.message
    assert "dimse.services or dicomWeb.services" in fault.cure


def test_a_node_of_another_namespace_does_not_count() -> None:
    foreign = dimse_node("pacs").metadata.model_copy(update={"namespace": "other"})
    moved = dimse_node("pacs").model_copy(update={"metadata": foreign})
    assert refused(transfer_job(), nodes(moved, dimse_node("research"))).code is FaultCode.NODE_NOT_FOUND


@pytest.mark.parametrize(
    ("services", "field", "needed"),
    [
        ((Service.STUDY_ROOT_GET,), "spec.source.node", "StudyRootFind"),
        ((Service.STUDY_ROOT_FIND, Service.STORAGE), "spec.source.node", "StudyRootGet"),
        ((Service.STUDY_ROOT_FIND, Service.STORAGE), "spec.source.node", "StudyRootMove"),
    ],
)
def test_a_source_must_answer_queries_and_send(services: tuple[Service, ...], field: str, needed: str) -> None:
    fault = refused(transfer_job(), nodes(dimse_node("pacs", services), dimse_node("research")))
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert fault.message.startswith(field)
    assert needed in fault.message
    assert fault.node == "pacs"


def test_a_destination_must_take_instances() -> None:
    fault = refused(transfer_job(), nodes(dimse_node("pacs"), dimse_node("research", (Service.STUDY_ROOT_FIND,))))
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert fault.message.startswith("spec.destination.node")


def test_the_patient_root_model_needs_a_patient_id_for_every_study() -> None:
    source = dimse_node("pacs", (Service.PATIENT_ROOT_FIND, Service.PATIENT_ROOT_GET))
    named = StudySelection(study_instance_uid=STUDY, patient_id="1001")
    unnamed = StudySelection(study_instance_uid="1.2.840.2")
    given = nodes(source, dimse_node("research"))
    assert accept(transfer_job(studies=(named,)), given) is None
    fault = refused(transfer_job(studies=(named, unnamed)), given)
    assert fault.message.startswith("spec.selection.studies[1].patientID")
    assert "1001" not in str(fault)


def test_a_pseudonym_is_refused_for_good_even_before_the_nodes_are_there() -> None:
    studies = (
        StudySelection(study_instance_uid=STUDY),
        StudySelection(study_instance_uid="1.2.840.2", pseudonym="STROKE-001"),
    )
    fault = refused(transfer_job(studies=studies), {})
    assert fault.code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert "studies[1].pseudonym" in fault.message
    assert "STROKE-001" not in str(fault)
    assert not can_wait(fault)


def test_failed_of_names_a_job_that_has_finished() -> None:
    job = transfer_job("again", failed_of="first")
    first = transfer_job("first")
    missing = refused(job, BOTH)
    running = refused(job, BOTH, job_record(1, first))
    assert missing.code is FaultCode.JOB_NOT_FOUND
    assert running.code is FaultCode.JOB_NOT_FINISHED
    assert can_wait(missing)
    assert can_wait(running)
    assert accept(job, BOTH, job_record(1, first, ended=True)) is None


def test_jobs_that_wait_for_each_other_are_told_of_their_circle() -> None:
    names = {"a": "b", "b": "c", "c": "a", "outside": "a"}
    records = {
        ("default", name): replace(job_record(number, transfer_job(name, failed_of=other)), expanded_at=None)
        for number, (name, other) in enumerate(names.items())
    }

    def told(name: str) -> str:
        job = records["default", name].job
        fault = accept(job, BOTH, records["default", names[name]], find_job=records.get)
        assert fault is not None
        assert fault.code is FaultCode.JOB_NOT_FINISHED
        assert can_wait(fault)  # one of them may be deleted
        return fault.message

    assert "b waits for this job in turn (a → b → c → a)" in told("a")
    assert "a waits for this job in turn (c → a → b → c)" in told("c")
    assert told("outside").endswith("TransferJob a has not finished.")
    records["default", "c"] = replace(records["default", "c"], expanded_at=NOW)  # by an older version, say
    assert told("a").endswith("TransferJob b has not finished.")
    del records["default", "c"]
    assert told("a").endswith("TransferJob b has not finished.")


def test_failed_of_a_refused_job_would_retry_nothing() -> None:
    late = Fault(code=FaultCode.DEADLINE_EXCEEDED, message="The job's deadline passed while it waited.")
    first = replace(job_record(1, transfer_job("first"), ended=True), refusal=late)
    fault = refused(transfer_job("again", failed_of="first"), BOTH, first)
    assert fault.code is FaultCode.JOB_NOT_RETRIABLE
    assert fault.message.startswith("spec.selection.failedOf.name: TransferJob first was refused (DeadlineExceeded)")
    assert "selection under a new name" in fault.cure
    assert not can_wait(fault)


STROKE = Trial(protocol_id="STROKE")


def test_a_pseudonym_is_taken_by_a_job_that_names_a_profile() -> None:
    studies = (StudySelection(study_instance_uid=STUDY, pseudonym="STROKE-001"),)
    job = transfer_job(studies=studies, profile="research")
    assert accept(job, BOTH, profiles={("default", "research")}) is None
    listed = listing(name="cohort")
    listed = listed.model_copy(update={"spec": listed.spec.model_copy(update=asked("research"))})
    assert accept(listed, BOTH, None, replace(LISTED, pseudonyms=2), profiles={("default", "research")}) is None


def asked(profile: str) -> dict[str, ProfileReference]:
    return {"deidentification": ProfileReference(profile=profile)}


@pytest.mark.parametrize("there", [set(), {("other", "research")}, {("default", "basic")}])
def test_a_missing_profile_is_named_and_waited_for(there: set[NodeKey]) -> None:
    fault = accept(transfer_job(profile="research"), BOTH, profiles=there)
    assert fault is not None
    assert fault.code is FaultCode.PROFILE_NOT_FOUND
    assert fault.message.startswith("spec.deidentification.profile: there is no DeidProfile research")
    assert can_wait(fault)


def test_a_destination_that_takes_copies_only_is_sent_no_originals() -> None:
    research = dimse_node("research")
    research = research.model_copy(update={"spec": research.spec.model_copy(update={"accepts": Accepts.DEIDENTIFIED})})
    given = nodes(dimse_node("pacs"), research)
    fault = refused(transfer_job(), given)
    assert fault.code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert fault.message.startswith("spec.deidentification is missing: DicomNode research ")
    assert fault.node == "research"
    assert not can_wait(fault)
    assert accept(transfer_job(profile="basic"), given, profiles={("default", "basic")}) is None
    assert accept(transfer_job(source="research", destination="pacs"), given) is None


@pytest.mark.parametrize(("first", "again"), [("research", None), (None, "research"), ("research", "basic")])
@pytest.mark.parametrize("ended", [True, False])
def test_failed_of_never_drops_or_changes_the_profile(first: str | None, again: str | None, ended: bool) -> None:
    record = job_record(1, transfer_job("first", profile=first), ended=ended)
    there = {("default", "research"), ("default", "basic")}
    fault = accept(transfer_job("again", failed_of="first", profile=again), BOTH, record, profiles=there)
    assert fault is not None
    assert fault.code is FaultCode.JOB_NOT_RETRIABLE
    assert fault.message.startswith("spec.deidentification ")
    assert "deidentification of first" in fault.cure
    assert not can_wait(fault)


@pytest.mark.parametrize(("there", "missing"), [(("pacs",), "research"), (("research",), "pacs"), ((), "pacs")])
def test_a_node_that_went_away_is_told_of_whatever_the_selection(there: tuple[str, ...], missing: str) -> None:
    given = nodes(*(folder_node(name) for name in there))
    for job in (transfer_job(), listing(name="cohort"), transfer_job(profile="research")):
        fault = missing_node(job, given)
        assert fault is not None
        assert (fault.code, fault.node) == (FaultCode.NODE_NOT_FOUND, missing)
    assert missing_node(transfer_job(), BOTH) is None


def archiving(job: TransferJob) -> TransferJob:
    to = DestinationReference(node="research", archive=Archive(format=ArchiveFormat.ZIP, secret_name="recipient"))
    return job.model_copy(update={"spec": job.spec.model_copy(update={"destination": to})})


def test_a_retry_of_what_was_to_be_encrypted_is_too() -> None:
    given = nodes(dimse_node("pacs"), folder_node("research"), folder_node("elsewhere"))
    record = job_record(1, archiving(transfer_job("first")), ended=True)
    again = transfer_job("again", failed_of="first")
    fault = refused(again, given, record)
    assert fault.code is FaultCode.JOB_NOT_RETRIABLE
    assert fault.message.startswith("spec.destination.archive is missing: ")
    assert accept(archiving(again), given, record) is None
    assert accept(transfer_job("again", failed_of="first", destination="elsewhere"), given, record) is None


def test_archives_of_its_own_are_made_in_folders_only() -> None:
    job = archiving(transfer_job())
    fault = refused(job, BOTH)
    assert (fault.code, fault.node) == (FaultCode.SERVICE_NOT_OFFERED, "research")
    assert fault.message.startswith("spec.destination.archive: ")
    assert missing_node(job, BOTH) == fault  # and so it is told of where the node was edited later
    assert accept(job, nodes(dimse_node("pacs"), folder_node("research"))) is None


@pytest.mark.parametrize(("first", "again"), [(STROKE, None), (None, STROKE), (STROKE, Trial(protocol_id="HEART"))])
@pytest.mark.parametrize("ended", [True, False])
def test_failed_of_never_drops_or_changes_the_trial(first: Trial | None, again: Trial | None, ended: bool) -> None:
    record = job_record(1, transfer_job("first", trial=first), ended=ended)
    fault = refused(transfer_job("again", failed_of="first", trial=again), BOTH, record)
    assert fault.code is FaultCode.JOB_NOT_RETRIABLE
    assert fault.message.startswith("spec.trial ")
    assert "trial of first" in fault.cure
    assert not can_wait(fault)


def test_failed_of_with_the_same_trial_may_go_elsewhere() -> None:
    record = job_record(1, transfer_job("first", trial=STROKE), ended=True)
    again = transfer_job("again", failed_of="first", trial=Trial(protocol_id="STROKE"), destination="archive")
    assert accept(again, nodes(dimse_node("pacs"), dimse_node("archive")), record) is None


def listing(**reference: str) -> TransferJob:
    job = transfer_job()
    selection = job.spec.selection.model_copy(update={"studies": None, "listed": ListReference(**reference)})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"selection": selection})})


LISTED = SelectionRecord(UUID(int=7), "default", "cohort", 2, 0, 1, NOW, NOW)


@pytest.mark.parametrize(("reference", "field"), [({"name": "cohort"}, "name"), ({"id": str(UUID(int=7))}, "id")])
def test_an_unknown_list_is_refused_for_good(reference: dict[str, str], field: str) -> None:
    fault = refused(listing(**reference), {})
    assert fault.code is FaultCode.SELECTION_NOT_FOUND
    assert fault.message.startswith(f"spec.selection.list.{field}: ")
    assert reference[field] in fault.message
    assert not can_wait(fault)


def test_a_list_is_held_to_the_same_rules_as_studies() -> None:
    job = listing(name="cohort")
    assert accept(job, BOTH, None, LISTED) is None
    patient_root = dimse_node("pacs", (Service.PATIENT_ROOT_FIND, Service.PATIENT_ROOT_GET))
    no_ids = accept(job, nodes(patient_root, dimse_node("research")), None, LISTED)
    pseudonyms = accept(job, {}, None, replace(LISTED, pseudonyms=2))
    assert no_ids is not None
    assert (no_ids.code, no_ids.message[:20]) == (FaultCode.SERVICE_NOT_OFFERED, "spec.selection.list:")
    assert pseudonyms is not None
    assert pseudonyms.code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert not can_wait(pseudonyms)
