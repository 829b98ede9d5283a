"""Instance rows: batches may come late, twice, in any order; what is proven stays proven."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.records import Settlement
from adit.model.assignment import Progress
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import FaultCode
from adit.model.state import TaskState
from tests.integration.ledger.scene import NOW, Scene, after, report, row, transfer_job

EXPECTED, RECEIVED, LEFT_OUT, STORED, VERIFIED = InstanceState


@pytest.fixture
def worker(scene: Scene) -> Iterator[AttemptLedger]:
    worker = scene.worker(scene.claim(scene.apply().id)[0])
    worker.begin("w", NOW)
    yield worker
    worker.close()


def write(worker: AttemptLedger, *records: InstanceRecord) -> list[InstanceRecord]:
    worker.write(records, Progress(), [], NOW)
    return worker.instances()


def test_a_row_keeps_all_that_was_ever_known(worker: AttemptLedger) -> None:
    write(worker, row("1", EXPECTED, sop_class_uid="1.2.840.10008.5.1.4.1.1.2"))
    write(worker, row("1", RECEIVED, transfer_syntax_uid="1.2.840.10008.1.2.1", size=10, sha256="ab"))
    (found,) = write(worker, row("1", STORED, location="a/b.dcm", dimse_status=0xB000))
    assert found == row(
        "1",
        STORED,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        size=10,
        sha256="ab",
        location="a/b.dcm",
        dimse_status=0xB000,
    )


def test_a_late_record_moves_nothing_back(worker: AttemptLedger) -> None:
    write(worker, row("1", VERIFIED, size=10))
    assert write(worker, row("1", STORED, size=99), row("1", EXPECTED)) == [row("1", VERIFIED, size=10)]


def test_a_fault_takes_back_what_is_not_there(worker: AttemptLedger) -> None:
    write(worker, row("1", VERIFIED))
    lost = row("1", RECEIVED, fault_code=FaultCode.NOT_PROVEN, fault_message="The destination does not have it.")
    assert write(worker, lost) == [lost]
    assert write(worker, row("1", STORED)) == [row("1", STORED)]


def test_a_fault_leaves_the_last_proven_step(worker: AttemptLedger) -> None:
    refused = row("1", RECEIVED, fault_code=FaultCode.OUT_OF_RESOURCES, fault_message="Full.", dimse_status=0xA700)
    assert write(worker, row("1", RECEIVED, size=5), refused) == [refused.model_copy(update={"size": 5})]


def test_many_thousand_rows_go_in_one_statement(worker: AttemptLedger) -> None:
    rows = [row(f"1.2.{number:05}", EXPECTED) for number in range(5000)]
    assert write(worker, *rows) == rows


def test_a_page_boundary_loses_nothing(scene: Scene) -> None:
    assignment = scene.claim(scene.apply().id)[0]
    rows = [row(f"1.2.{number:05}", EXPECTED) for number in range(4000)]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    write(worker, *rows)
    worker.close()
    assert list(scene.ledger.instances(assignment.task_id)) == rows


def test_the_next_attempt_sees_what_the_last_one_stored(scene: Scene) -> None:

    job = scene.apply()
    first = scene.claim(job.id)[0]
    scene.attempt(first, [row("1", STORED), row("2", EXPECTED)], report())
    scene.ledger.settle(first.attempt_id, Settlement(TaskState.PENDING, not_before=NOW), NOW)
    worker = scene.worker(scene.claim(job.id)[0])
    worker.begin("w2", after(1))
    assert worker.instances() == [row("1", STORED), row("2", EXPECTED)]
    worker.close()


def merged(known: InstanceRecord | None, record: InstanceRecord) -> InstanceRecord:
    """The rule, said once more in other words."""
    if known is None:
        return record
    order = list(InstanceState)
    if order.index(record.state) < order.index(known.state) and record.fault_code is None:
        return known
    kept = ("sop_class_uid", "transfer_syntax_uid", "size", "sha256", "location")
    return record.model_copy(update={name: getattr(known, name) for name in kept if getattr(record, name) is None})


records = st.builds(
    row,
    st.sampled_from(["1.1", "1.2", "1.10"]),
    st.sampled_from(list(InstanceState)),
    size=st.none() | st.integers(0, 9),
    sha256=st.none() | st.sampled_from(["aa", "bb"]),
    fault_code=st.none() | st.just(FaultCode.STORE_FAILED),
)


@settings(
    max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.lists(records, max_size=5), max_size=4))
def test_the_database_follows_the_rule_in_any_batching(scene: Scene, batches: list[list[InstanceRecord]]) -> None:
    """However records are cut into batches, the rows are what the pure rule says of the whole sequence."""
    study = f"1.2.{next(_NUMBERS)}"

    job = scene.apply(transfer_job(f"j-{study.replace('.', '-')}", studies=[study]))
    worker = scene.worker(scene.claim(job.id)[0])
    try:
        worker.begin("w", NOW)
        expected: dict[str, InstanceRecord] = {}
        for batch in batches:
            write(worker, *batch)
            for record in batch:
                expected[record.sop_instance_uid] = merged(expected.get(record.sop_instance_uid), record)
        assert {found.sop_instance_uid: found for found in worker.instances()} == expected
    finally:
        worker.close()


def _count() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_NUMBERS = _count()
