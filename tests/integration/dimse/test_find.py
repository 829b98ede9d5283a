"""C-FIND against a real Orthanc and against a peer that filters nothing, lies, or gives up."""

from collections.abc import Iterator

import pytest
from pydicom import Dataset

from adit.dicom.node import Answer, Level, Query
from adit.model.dicom_node import Service
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import ct_scp, node
from tests.peers import Behaviour, Orthanc
from tests.peers.scripted import EVERY_KEY
from tests.samples import ct_study, mixed_study, names_of_the_world

MIXED = mixed_study()
NAMES = names_of_the_world()
PATIENT_ROOT_ONLY = (Service.PATIENT_ROOT_FIND,)
STUDY_ROOT_ONLY = (Service.STUDY_ROOT_FIND,)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    # By default it answers in Latin-1, and leaves out what that lacks.
    with Orthanc(tmp_path_factory.mktemp("find"), DefaultEncoding="Utf8") as peer:
        peer.upload(*MIXED.files(), *(file for study in NAMES for file in study.files()))
        yield peer


def fault_of(answers: Iterator[Answer]) -> FaultCode:
    with pytest.raises(TransferFault) as raised:
        list(answers)
    assert raised.value.fault.node == "peer"
    assert raised.value.fault.cure
    return raised.value.fault.code


@pytest.mark.parametrize("services", [STUDY_ROOT_ONLY, PATIENT_ROOT_ONLY], ids=["study root", "patient root"])
def test_every_level_finds_what_is_there(orthanc: Orthanc, services: tuple[Service, ...]) -> None:
    peer = node(orthanc, services=services)
    study = {"PatientID": MIXED.patient_id, "StudyInstanceUID": MIXED.study_instance_uid}
    patients = list(peer.find(Query(Level.PATIENT, {"PatientID": "*"}, ("PatientName",))))
    assert sorted(str(each.get("PatientID")) for each in patients) == ["1002", "2000", "2001", "2002", "2003", "2004"]
    studies = list(peer.find(Query(Level.STUDY, study, ("StudyDescription", "ModalitiesInStudy"))))
    assert [str(each.get("StudyInstanceUID")) for each in studies] == [MIXED.study_instance_uid]
    assert set(studies[0].get("ModalitiesInStudy")) == {"CT", "MR"}
    series = {str(each.get("SeriesInstanceUID")) for each in peer.find(Query(Level.SERIES, study))}
    assert series == set(MIXED.series_instance_uids)
    images = {
        str(each.get("SOPInstanceUID"))
        for uid in series
        for each in peer.find(Query(Level.IMAGE, study | {"SeriesInstanceUID": uid}, ("SOPClassUID",)))
    }
    assert images == MIXED.sop_instance_uids


@pytest.mark.parametrize("study", NAMES, ids=lambda study: str(study.patient_id))
def test_a_name_in_any_character_set_comes_whole_and_is_found_by_itself(orthanc: Orthanc, study: object) -> None:
    wanted = next(each for each in NAMES if each is study)
    name = str(wanted.instances[0].PatientName)
    peer = node(orthanc)
    by_id = list(peer.find(Query(Level.STUDY, {"PatientID": wanted.patient_id}, ("PatientName",))))
    assert [str(each.get("PatientName")).rstrip("=") for each in by_id] == [name.rstrip("=")]
    by_name = list(peer.find(Query(Level.STUDY, {"PatientName": name.rstrip("=")})))
    assert [str(each.get("StudyInstanceUID")) for each in by_name] == [wanted.study_instance_uid]


def test_a_limit_counts_what_passed_the_filters_and_ends_the_query() -> None:
    instances = [*ct_study(3, seed="a", patient_id="1", series=9).instances, *MIXED.instances]
    with ct_scp(instances, behaviour=Behaviour(ignored_keys=EVERY_KEY)) as peer:
        asked = Query(Level.STUDY, {"PatientID": MIXED.patient_id}, limit=1)
        found = list(node(peer).find(asked))
        assert [str(each.get("StudyInstanceUID")) for each in found] == [MIXED.study_instance_uid]
        assert len(list(node(peer).find(Query(Level.STUDY, {}, limit=1)))) == 1


def test_a_peer_that_filters_nothing_is_filtered_by_us() -> None:
    instances = [*ct_study(1, seed="other", patient_id="1").instances, *MIXED.instances]
    with ct_scp(instances, behaviour=Behaviour(ignored_keys=EVERY_KEY)) as peer:
        found = list(node(peer).find(Query(Level.STUDY, {"StudyInstanceUID": MIXED.study_instance_uid})))
    assert [str(each.get("StudyInstanceUID")) for each in found] == [MIXED.study_instance_uid]


def test_an_answer_given_twice_counts_once() -> None:
    answer = Dataset()
    answer.PatientID, answer.StudyInstanceUID = "1", "1.2.3"
    with ct_scp(behaviour=Behaviour(find_answers=[answer, answer])) as peer:
        assert len(list(node(peer).find(Query(Level.STUDY)))) == 1


def test_one_study_uid_under_two_patients_is_two_answers() -> None:
    first, second = Dataset(), Dataset()
    first.PatientID, second.PatientID = "1", "2"
    first.StudyInstanceUID = second.StudyInstanceUID = "1.2.3"
    with ct_scp(behaviour=Behaviour(find_answers=[first, second, first])) as peer:
        found = list(node(peer).find(Query(Level.STUDY, {"StudyInstanceUID": "1.2.3"}, ("PatientID",))))
    assert [each.get("PatientID") for each in found] == ["1", "2"]


def test_an_answer_without_its_own_uid_is_a_fault_and_not_skipped() -> None:
    answer = Dataset()
    answer.PatientID, answer.StudyInstanceUID = "1", None
    with ct_scp(behaviour=Behaviour(find_answers=[answer])) as peer:
        assert fault_of(node(peer).find(Query(Level.STUDY))) is FaultCode.QUERY_FAILED


@pytest.mark.parametrize(
    ("status", "code"),
    [(0xA700, FaultCode.OUT_OF_RESOURCES), (0xA900, FaultCode.QUERY_FAILED), (0xC001, FaultCode.QUERY_FAILED)],
)
def test_a_query_that_ends_badly_is_a_fault_even_after_answers(status: int, code: FaultCode) -> None:
    with ct_scp(MIXED.instances, behaviour=Behaviour(find_status=status)) as peer:
        assert fault_of(node(peer).find(Query(Level.STUDY))) is code


def test_an_answer_of_megabytes_is_none() -> None:
    answer = Dataset()
    answer.QueryRetrieveLevel, answer.StudyInstanceUID = "STUDY", "1.2"
    answer.private_block(0x0009, "ADIT TEST", create=True).add_new(0x01, "OB", bytes(3 * 2**20))
    with ct_scp(behaviour=Behaviour(find_answers=[answer])) as peer:
        assert fault_of(node(peer).find(Query(Level.STUDY))) is FaultCode.ASSOCIATION_ABORTED


def test_a_query_aborted_half_way_is_a_fault() -> None:
    with ct_scp([*MIXED.instances, *NAMES[0].instances], behaviour=Behaviour(find_abort_after=1)) as peer:
        assert fault_of(node(peer).find(Query(Level.STUDY))) is FaultCode.ASSOCIATION_ABORTED


def test_a_caller_who_leaves_early_frees_the_association() -> None:
    with ct_scp([*MIXED.instances, *NAMES[0].instances]) as peer:
        ours = node(peer)
        for _ in range(10):  # more than its share of eight
            answers = ours.find(Query(Level.STUDY))
            next(answers)
            answers.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "query",
    [
        Query(Level.SERIES, {"PatientID": "1"}),
        Query(Level.SERIES, {"StudyInstanceUID": "1.2*"}),
        Query(Level.IMAGE, {"StudyInstanceUID": "1.2"}),
    ],
    ids=["no study", "a wildcard for a study", "no series"],
)
def test_a_query_without_the_keys_of_the_levels_above_is_refused_before_it_is_sent(query: Query) -> None:
    with ct_scp() as peer:
        assert fault_of(node(peer).find(query)) is FaultCode.SERVICE_NOT_OFFERED
        assert not peer.queries


@pytest.mark.parametrize("patient_id", ["", "10*"])
def test_patient_root_alone_needs_a_patient_id(patient_id: str) -> None:
    with ct_scp() as peer:
        ours = node(peer, services=PATIENT_ROOT_ONLY)
        assert fault_of(ours.find(Query(Level.STUDY, {"PatientID": patient_id}))) is FaultCode.SERVICE_NOT_OFFERED


def test_a_peer_without_the_query_service_is_a_configuration_fault() -> None:
    with ct_scp(offers_query=False) as peer:
        assert fault_of(node(peer).find(Query(Level.STUDY))) is FaultCode.SERVICE_NOT_OFFERED
    with ct_scp() as peer:
        ours = node(peer, services=(Service.STORAGE,))
        assert fault_of(ours.find(Query(Level.STUDY))) is FaultCode.SERVICE_NOT_OFFERED
