"""Why nothing starts: the reason that people are told is the one that holds the tasks back."""

from __future__ import annotations

from dataclasses import replace

from adit.dispatch.waiting import waiting
from adit.ledger.records import JobRecord, NodeKey
from adit.model.dicom_node import DicomNode, Window
from adit.model.transfer_job import TransferJob
from tests.unit.dispatch.nouns import NOW, folder_node, job_record, transfer_job


def window(begin: str, end: str) -> tuple[Window, ...]:
    return (Window.model_validate({"from": begin, "to": end, "timeZone": "Europe/Berlin"}),)


def nodes(*given: DicomNode) -> dict[NodeKey, DicomNode]:
    return {node.key: node for node in given}


def suspended(job: TransferJob) -> TransferJob:
    return job.model_copy(update={"spec": job.spec.model_copy(update={"suspend": True})})


def unexpanded(job: TransferJob) -> JobRecord:
    return replace(job_record(1, job), expanded_at=None)


def test_nothing_holds_a_job_back_whose_nodes_are_open() -> None:
    assert waiting(job_record(1, transfer_job()), nodes(folder_node("pacs"), folder_node("research")), NOW) is None


def test_of_two_closed_windows_the_later_one_is_told() -> None:
    given = nodes(
        folder_node("pacs", windows=window("20:00", "06:00")), folder_node("research", windows=window("22:30", "06:00"))
    )
    told = waiting(job_record(1, transfer_job()), given, NOW)
    assert told == "The windows of DicomNode research are closed until 2026-03-02 21:30 UTC."


def test_a_missing_node_is_told_while_the_job_waits_for_it() -> None:
    told = waiting(unexpanded(transfer_job()), nodes(folder_node("pacs")), NOW)
    assert told is not None
    assert "DicomNode research" in told


def test_a_suspended_job_says_so_first() -> None:
    told = waiting(unexpanded(suspended(transfer_job())), {}, NOW)
    assert told is not None
    assert told.startswith("Suspended")


def test_an_ended_job_waits_for_nothing() -> None:
    assert waiting(job_record(1, suspended(transfer_job()), ended=True), {}, NOW) is None
