"""The study is found by upstream's rule, and what the source announces but does not list is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from pydicom import Dataset

import adit.transfer.plan as plan_module
from adit.dicom.node import Level, Query
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.transfer.plan import make_plan
from tests.unit.transfer.memory_ledger import assignment
from tests.unit.transfer.memory_node import MemoryInstance, MemoryNode, answer, study_of


def code_of(node: MemoryNode, **changes: object) -> FaultCode:
    with pytest.raises(TransferFault) as caught:
        make_plan(node, assignment(**changes))
    return caught.value.fault.code


def test_every_listed_instance_is_planned_with_its_series_and_class() -> None:
    node = MemoryNode(holds={**study_of("1.1", "1.2"), **study_of("2.1", series="1.2.3.2")})
    plan = make_plan(node, assignment(patient_id="PAT"))
    assert {(row.sop_instance_uid, row.series_instance_uid) for row in plan.instances} == {
        ("1.1", "1.2.3.1"),
        ("1.2", "1.2.3.1"),
        ("2.1", "1.2.3.2"),
    }
    assert plan.warnings == ()
    assert plan.least == 3


def test_a_patient_id_that_does_not_match_is_a_warning_and_later_queries_use_the_sources_own() -> None:
    node = MemoryNode(holds=study_of("1.1"), patient_id="NEW")
    plan = make_plan(node, assignment(patient_id="OLD"))
    assert [warning.code for warning in plan.warnings] == [FaultCode.PATIENT_ID_MISMATCH]
    assert [row.sop_instance_uid for row in plan.instances] == ["1.1"]
    below = [query for query in node.queries if query.level is not Level.STUDY]
    assert {query.keys.get("PatientID") for query in below} == {"NEW"}
    assert not any("OLD" in str(warning) or "NEW" in str(warning) for warning in plan.warnings)


def test_without_a_patient_id_the_study_uid_alone_is_no_warning() -> None:
    assert make_plan(MemoryNode(holds=study_of("1.1")), assignment()).warnings == ()


def test_no_study() -> None:
    assert code_of(MemoryNode(studies=[]), patient_id="PAT") is FaultCode.STUDY_NOT_FOUND


def test_several_studies() -> None:
    node = MemoryNode(studies=[answer(PatientID="A"), answer(PatientID="B")])
    assert code_of(node) is FaultCode.STUDY_AMBIGUOUS
    assert code_of(node, patient_id="C") is FaultCode.STUDY_AMBIGUOUS


def test_the_same_study_answered_twice_is_one() -> None:
    node = MemoryNode(holds=study_of("1.1"), studies=[answer(PatientID="PAT"), answer(PatientID="PAT")])
    assert make_plan(node, assignment()).least == 1


def test_a_source_that_answers_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "_MOST", 50)

    class Endless(MemoryNode):
        def find(self, query: Query) -> Iterator[Dataset]:
            if query.level is not Level.IMAGE:
                yield from super().find(query)
                return
            for number in count(1):
                yield answer(SOPInstanceUID=f"1.2.{number}")

    assert code_of(Endless(holds=study_of("1.1"))) is FaultCode.QUERY_FAILED


def test_a_named_series_that_does_not_exist() -> None:
    node = MemoryNode(holds=study_of("1.1"))
    assert code_of(node, series_instance_uids=("1.2.3.1", "1.2.3.9")) is FaultCode.SERIES_NOT_FOUND


def test_only_named_series_are_planned_and_the_studys_count_does_not_matter_then() -> None:
    node = MemoryNode(holds={**study_of("1.1"), **study_of("2.1", series="1.2.3.2")}, announced=2)
    plan = make_plan(node, assignment(series_instance_uids=("1.2.3.2",)))
    assert [row.sop_instance_uid for row in plan.instances] == ["2.1"]
    assert plan.least == 1


def test_more_announced_than_listed_is_remembered() -> None:
    by_study = MemoryNode(holds=study_of("1.1", "1.2"), announced=5)
    assert make_plan(by_study, assignment()).least == 5
    by_series = MemoryNode(holds=study_of("1.1", "1.2"), series_announced=4)
    assert make_plan(by_series, assignment()).least == 4


@pytest.mark.parametrize("nonsense", ["", None])
def test_a_count_that_is_missing_is_no_count(nonsense: object) -> None:
    node = MemoryNode(holds=study_of("1.1"), studies=[answer(PatientID="PAT", NumberOfStudyRelatedInstances=nonsense)])
    assert make_plan(node, assignment()).least == 1


def test_an_instance_listed_in_two_series_has_a_fault_and_the_others_go_on() -> None:
    node = MemoryNode(holds=study_of("1.1", "1.2"))
    node.holds["twin"] = MemoryInstance("1.1", series="1.2.3.2")
    plan = make_plan(node, assignment())
    assert [(fault.code, fault.sop_instance_uid) for fault in plan.conflicts] == [(FaultCode.INSTANCE_CONFLICT, "1.1")]
    assert [row.sop_instance_uid for row in plan.instances] == ["1.1", "1.2"]


@pytest.mark.parametrize("uid", ["1.2\x004", "1." + "2" * 3000, ["1.2.5", "1.2.6"], "1.2\n3", "1\x1b[2J"])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about these values
def test_a_uid_that_is_none_is_the_sources_fault(keyword: str, uid: object) -> None:
    node = MemoryNode(holds=study_of("1.1"), overwritten={keyword: uid})
    with pytest.raises(TransferFault) as caught:
        make_plan(node, assignment())
    fault = caught.value.fault
    assert (fault.code, fault.node) == (FaultCode.QUERY_FAILED, "memory")
    assert keyword in fault.message
    assert fault.message.isprintable()
    assert len(fault.message) < 300


def test_what_the_source_may_not_read_ends_it_before_the_study_is_said_to_be_missing() -> None:
    denied = Fault(code=FaultCode.PERMISSION_DENIED, message="2 files may not be read.")
    assert code_of(MemoryNode(holds=study_of("1.1"), doubted=(denied,))) is FaultCode.PERMISSION_DENIED
    assert code_of(MemoryNode(studies=[], doubted=(denied,))) is FaultCode.PERMISSION_DENIED


def test_what_the_source_could_not_judge_is_a_warning() -> None:
    doubt = Fault(code=FaultCode.FETCHED_WITH_WARNING, message="2 files cannot be read.")
    assert make_plan(MemoryNode(holds=study_of("1.1"), doubted=(doubt,)), assignment()).warnings == (doubt,)
