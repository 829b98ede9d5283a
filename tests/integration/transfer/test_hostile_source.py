"""A source that breaks off, sends fewer, nothing, twice or something else: never a wrong green."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy

import pytest
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, Task, dimse
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import Study, ct_study, instance, uid

STUDY = ct_study(8, series=2)


@pytest.fixture
def source() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as scp:
        yield scp


@pytest.fixture
def destination() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(aet="DESTINATION") as scp:
        yield scp


@pytest.fixture
def task(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> Task:
    return scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)


ONCE = Counter(STUDY.sop_instance_uids)


def levels(source: ScriptedSCP) -> list[str]:
    """The level of each C-GET; only these have a list, one or no SOP Instance UIDs and no empty keys."""
    return [str(query.QueryRetrieveLevel) for query in source.queries if all(e.value not in ("", None) for e in query)]


def test_it_breaks_off_half_way_and_the_rest_is_fetched_by_name(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    broken = False

    def once(service: str, number: int) -> None:
        nonlocal broken
        if service == "C-GET" and broken:
            source.behaviour.get_abort_after = None
        broken = broken or service == "C-GET"

    source.behaviour = Behaviour(get_abort_after=7, before=once)
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert destination.stores() == ONCE
    assert "Healed" in task.codes()


def test_more_of_one_series_makes_up_for_nothing_of_another(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    """Two that it announces and does not list go away; two of the other series come while it is asked."""
    first, second = SERIES
    hidden = sorted(second.sop_instance_uids)[:2]
    grown = [deepcopy(first.instances[0]) for _ in hidden]
    for number, one in enumerate(grown):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(uid("grown", number))

    def before(service: str, number: int) -> None:
        if (service, number) == ("C-GET", 1):
            for gone in hidden:
                source.forget(gone)
            source.take(*grown)

    source.behaviour = Behaviour(unlisted=frozenset(hidden), before=before)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
    assert second.series_instance_uids[0] in report.faults[0].message
    assert destination.holds == STUDY.sop_instance_uids - set(hidden) | {str(one.SOPInstanceUID) for one in grown}


def test_it_breaks_off_every_time(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    source.behaviour = Behaviour(get_abort_after=3)
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.ASSOCIATION_ABORTED)
    assert report.faults[0].node == "source"
    arrived = len(destination.holds)
    assert 3 <= arrived < 16
    source.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_it_sends_fewer_than_it_lists_and_calls_it_success(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    source.behaviour = Behaviour(get_only=3)
    report = task.run(again=True)
    assert report.outcome is Outcome.PARTIAL
    assert report.faults[0].code is FaultCode.INCOMPLETE
    missing = [row for row in task.rows().values() if row.state is InstanceState.EXPECTED]
    assert missing
    assert {row.fault_code for row in missing} == {FaultCode.INCOMPLETE}
    source.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


UNCOUNTED = frozenset({"NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})


def test_it_announces_more_than_it_lists_and_sends(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, get_announce=20)
    for _ in range(2):
        report = task.run(again=True)
        assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
        assert "20" in report.faults[0].message
    assert "Healed" not in task.codes()
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


@pytest.mark.parametrize("service", ["C-FIND", "C-GET"])
def test_an_attempt_that_is_stopped_does_not_call_the_last_ones_rows_a_success(
    task: Task, source: ScriptedSCP, service: str
) -> None:
    """All of them are proven, and it had not been enough; this one was to ask for the rest, and never came to it."""
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, get_announce=20)
    assert task.run(again=True).outcome is Outcome.PARTIAL
    stop, opened = threading.Event(), threading.Event()

    def before(asked: str, number: int) -> None:
        if asked == service:
            stop.set()
            opened.wait(60)

    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, get_announce=20, before=before)
    report = task.run(stop=stop)
    opened.set()
    assert report.outcome is Outcome.CANCELLED


def test_it_announces_more_than_it_lists_and_misses_some_of_that(task: Task, source: ScriptedSCP) -> None:
    """The next attempt asks by name, and would not hear of the announced ones again."""
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, get_only=2, get_announce=20)
    report = task.run()
    assert report.outcome is Outcome.PARTIAL
    assert FaultCode.FETCHED_WITH_WARNING in {warning.code for warning in report.warnings}


UNLISTED = frozenset(str(item.SOPInstanceUID) for item in STUDY.instances if int(item.InstanceNumber) > 4)
SERIES = [
    Study(tuple(item for item in STUDY.instances if item.SeriesInstanceUID == uid))
    for uid in STUDY.series_instance_uids
]


@pytest.mark.parametrize("abort_after", [2, 13])
def test_it_breaks_off_within_what_it_does_not_list(
    scene: Scene, task: Task, source: ScriptedSCP, destination: ScriptedSCP, abort_after: int
) -> None:
    """It spoke of 16 and lists eight; whether these came or not, the others are still to be asked for."""
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=UNLISTED, get_abort_after=abort_after)
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.ASSOCIATION_ABORTED)
    assert report.progress.announced == 16
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=UNLISTED)
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert destination.stores() == ONCE


def test_what_a_killed_worker_heard_is_known_to_the_next(
    scene: Scene, task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    reached, opened = threading.Event(), threading.Event()

    def before(service: str, number: int) -> None:
        if (service, number) == ("C-GET sub-operation", 2):
            reached.set()
            opened.wait(60)

    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=UNLISTED, before=before)
    worker = task.start()
    assert reached.wait(60)
    wait_until(lambda: task.count(InstanceState.STORED) == 1, "the first is stored")
    worker.kill()
    opened.set()
    task.lost(worker.assignment)
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=UNLISTED)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.holds == STUDY.sop_instance_uids


@pytest.mark.parametrize("selected", [False, True])
def test_a_series_that_is_listed_without_an_instance_is_asked_for(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP, selected: bool
) -> None:
    second = SERIES[1]
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=frozenset(second.sop_instance_uids))
    nodes = dimse("source", source), dimse("destination", destination)
    chosen = STUDY.series_instance_uids if selected else None
    report = scene.task(*nodes, STUDY.study_instance_uid, series=chosen).run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert destination.stores() == ONCE


@pytest.mark.parametrize(
    ("selected", "outcome", "code"),
    [(False, Outcome.SUCCESS, FaultCode.FETCHED_WITH_WARNING), (True, Outcome.PARTIAL, FaultCode.INCOMPLETE)],
)
def test_a_series_that_is_listed_and_never_seen_is_told_of(
    scene: Scene, destination: ScriptedSCP, selected: bool, outcome: Outcome, code: FaultCode
) -> None:
    first, second = SERIES
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source:

        def before(service: str, number: int) -> None:
            for uid in second.sop_instance_uids & source.holds if service == "C-GET" else ():
                source.forget(uid)

        unlisted = frozenset(second.sop_instance_uids)
        source.behaviour = Behaviour(omitted_keys=UNCOUNTED, unlisted=unlisted, before=before)
        nodes = dimse("source", source), dimse("destination", destination)
        chosen = STUDY.series_instance_uids if selected else None
        report = scene.task(*nodes, STUDY.study_instance_uid, series=chosen).run()
    assert report.outcome is outcome
    [told] = [each for each in (*report.faults, *report.warnings) if second.series_instance_uids[0] in each.message]
    assert (told.code, told.node) == (code, "source")
    assert destination.holds == first.sop_instance_uids


def test_it_sends_all_that_it_lists_and_fails_with_another(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    source.behaviour = Behaviour(omitted_keys=UNCOUNTED, get_announce=17, get_status=0xC001)
    report = task.run()
    assert (report.outcome, report.faults[0].status) == (Outcome.TRANSIENT_FAULT, 0xC001)
    assert destination.stores() == ONCE


def test_a_source_that_names_no_classes_still_gives_rare_ones(scene: Scene, destination: ScriptedSCP) -> None:
    rare = instance("rare", study="ct", series=3, sop_class="1.2.840.10008.5.1.4.1.1.481.3", modality="RTSTRUCT")
    with ScriptedSCP([*STUDY.instances, rare], aet="SOURCE") as source:
        source.behaviour = Behaviour(omitted_keys=frozenset({"SOPClassUID"}))
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert destination.stores() == ONCE + Counter([str(rare.SOPInstanceUID)])


def test_success_with_zero_sub_operations(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    source.behaviour = Behaviour(get_silent_empty=True)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED)
    assert destination.received == []
    assert set(task.states().values()) == {InstanceState.EXPECTED}


def test_a_busy_source_that_gives_nothing_at_first(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    def then_honest(service: str, number: int) -> None:
        source.behaviour.get_silent_empty = service == "C-GET" and number == 1

    source.behaviour = Behaviour(before=then_honest)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_it_sends_everything_twice(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    source.behaviour = Behaviour(get_twice=True)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_it_sends_what_nobody_asked_for(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    stranger = instance("stranger")
    source.behaviour = Behaviour(get_stranger=stranger)
    report = task.run()
    assert report.outcome is Outcome.SUCCESS
    assert FaultCode.FETCHED_WITH_WARNING in [warning.code for warning in report.warnings]
    assert str(stranger.SOPInstanceUID) not in destination.holds
    assert destination.stores() == ONCE


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["as it is", "re-encoded"])
def test_it_sends_one_instance_with_two_contents(scene: Scene, source: ScriptedSCP, syntax: str) -> None:
    """Nobody knows which is right, in whatever form the destination takes it."""
    other = deepcopy(STUDY.instances[-1])
    other.PixelData = bytes(len(other.PixelData))
    source.behaviour = Behaviour(get_stranger=other)
    with ScriptedSCP(aet="DESTINATION", accepts={str(other.SOPClassUID): [syntax]}) as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_CONFLICT)
    assert report.faults[0].sop_instance_uid == other.SOPInstanceUID


def test_a_failure_status_is_believed(task: Task, source: ScriptedSCP) -> None:
    source.behaviour = Behaviour(get_only=2, get_status=0xC001)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.FETCH_FAILED)
    assert report.faults[0].status == 0xC001


def test_a_query_that_fails_is_never_taken_for_a_short_answer(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    source.behaviour = Behaviour(find_abort_after=1)
    report = task.run()
    assert report.outcome is Outcome.TRANSIENT_FAULT
    assert destination.received == []


def test_only_patient_root(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    services = ["PatientRootFind", "PatientRootGet"]
    task = scene.task(
        dimse("source", source, services=services),
        dimse("destination", destination),
        STUDY.study_instance_uid,
        patient_id=STUDY.patient_id,
    )
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_one_study_uid_under_two_patients_is_never_guessed(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    answers = []
    for patient_id in ("A-1", "B-1"):
        answer = Dataset()
        answer.QueryRetrieveLevel = "STUDY"
        answer.StudyInstanceUID, answer.PatientID = STUDY.study_instance_uid, patient_id
        answers.append(answer)
    source.behaviour = Behaviour(find_answers=answers)
    task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.STUDY_AMBIGUOUS)
    assert source.requests["C-GET"] == 0
