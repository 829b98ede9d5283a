"""What only a newer version can read holds up itself and nothing else: after a step back to an older version, say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from adit.ledger.connection import engine, transaction
from adit.ledger.job_pages import JobFilter
from adit.ledger.ledger import Ledger
from adit.model.deid_profile import DeidProfile
from tests.integration.ledger.scene import NOW, Scene, node, report, row, seeds, transfer_job


def rewrite(url: str, table: str, name: str, spec: dict[str, Any]) -> None:
    source = engine(url, connections=1)
    statement = text(
        f"UPDATE {table} SET document = jsonb_set(document, '{{spec}}', document->'spec' || cast(:more AS jsonb)) "
        "WHERE document->'metadata'->>'name' = :name"
    )
    with transaction(source) as connection:
        assert connection.execute(statement, {"more": json.dumps(spec), "name": name}).rowcount == 1
    source.dispose()


def test_a_newer_versions_job_waits_for_it_and_the_others_go_on(
    request: pytest.FixtureRequest, scene: Scene, ledger_url: str
) -> None:
    names = ("newer-1", "readable", "newer-2")
    jobs = [scene.apply(transfer_job(name)) for name in names]
    claimed = {job.id: scene.claim(job.id)[0] for job in jobs}
    for assignment in claimed.values():
        scene.attempt(assignment, [row("1")], report())
    for name in ("newer-1", "newer-2"):
        rewrite(ledger_url, "job", name, {"novelty": 1})

    source = engine(ledger_url, connections=2)
    request.addfinalizer(source.dispose)
    older = Ledger(source)
    readable = jobs[1]
    older.ended(2)  # meets them, at the latest
    assert [ended.job_id for ended in older.ended(1)] == [readable.id]
    assert [each.record.id for each in older.job_page(JobFilter(), None, 10).summaries] == [readable.id]
    assert [each.record.id for each in older.job_page(JobFilter(), None, 1).summaries] == [readable.id]
    assert older.unreadable_jobs() == {jobs[0].id, jobs[2].id}
    with pytest.raises(LookupError, match="newer version"):
        older.summary(jobs[0].id)
    assert {each.job_id for each in scene.ledger.ended(10)} == {job.id for job in jobs}  # nothing was decided of it


def test_a_node_of_a_kind_that_is_not_known_is_as_good_as_missing(scene: Scene, ledger_url: str) -> None:
    scene.ledger.apply_node(node("tape"), NOW)
    waiting, job = scene.apply(transfer_job("to-tape", destination={"node": "tape"})), scene.apply(transfer_job("ct"))
    rewrite(ledger_url, "node", "tape", {"tape": {"robot": 1}})
    with scene.ledger.admission(NOW) as admission:
        assert ("default", "tape") not in admission.snapshot.nodes
        candidates = {each.record.id for each in admission.snapshot.candidates}
    assert {waiting.id, job.id} <= candidates


def test_a_job_whose_frozen_profile_is_not_known_waits_and_takes_nobodys_turn(scene: Scene, ledger_url: str) -> None:
    """Never an original in a copy's place; and no budget for what cannot start."""
    job = scene.apply(transfer_job("plain"))
    scene.ledger.apply_job(transfer_job("copies", deidentification={"profile": "research"}), NOW)
    waiting = scene.record("copies")
    profile = DeidProfile.model_validate({"metadata": {"name": "research"}, "spec": {"key": {"secretName": "key"}}})
    scene.ledger.expand(waiting.id, seeds(waiting.job), NOW, profile)
    source = engine(ledger_url, connections=1)
    with transaction(source) as connection:
        connection.execute(text("UPDATE job SET profile = profile || '{\"novelty\": 1}' WHERE profile IS NOT NULL"))
    source.dispose()
    with scene.ledger.admission(NOW) as admission:
        assert [each.record.id for each in admission.snapshot.candidates] == [job.id]
    assert scene.claim(waiting.id) == []
    assert scene.ledger.unreadable_jobs() == {waiting.id}
    assert len(scene.claim(job.id)) == 1
