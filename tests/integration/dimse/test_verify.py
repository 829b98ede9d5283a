"""Verification asks the destination itself; probing says what a peer can do."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from adit.dicom.node import Proof, Stored
from adit.model.dicom_node import Service
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import as_instance, ct_scp, node
from tests.integration.dimse.raw_peer import RawPeer
from tests.peers import Behaviour, Orthanc, ScriptedSCP, Storescp
from tests.samples import Study, ct_study

STUDY = ct_study(2, series=3)
FIRST = str(STUDY.instances[0].SOPInstanceUID)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("verify")) as peer:
        yield peer


def store(peer: Orthanc | ScriptedSCP, study: Study = STUDY) -> list[Stored]:
    with closing(node(peer).open_store({str(item.SOPClassUID) for item in study.instances})) as channel:
        return [channel.store(as_instance(item)) for item in study.instances]


def proofs(peer: Orthanc | ScriptedSCP, stored: list[Stored], waits: tuple[float, ...] = ()) -> dict[str, Proof]:
    found = list(node(peer, verify_waits=waits).verify(STUDY.study_instance_uid, stored))
    assert len(found) == len(stored)
    return {each.sop_instance_uid: each for each in found}


def test_what_a_real_pacs_has_is_proven(orthanc: Orthanc) -> None:
    stored = store(orthanc)
    assert all(proof.present and proof.fault is None for proof in proofs(orthanc, stored).values())
    orthanc.delete_instance(FIRST)
    after = proofs(orthanc, stored)
    assert {uid for uid, proof in after.items() if not proof.present} == {FIRST}


def test_what_was_acknowledged_and_lost_is_not_proven_and_says_so() -> None:
    with ct_scp(behaviour=Behaviour(lost=frozenset({FIRST}))) as peer:
        found = proofs(peer, store(peer), waits=(0.01,))
        # Only the incomplete series again, and what it lacks by name.
        assert peer.requests["C-FIND"] == len(STUDY.series_instance_uids) + 2
    missing = [proof for proof in found.values() if not proof.present]
    assert [proof.sop_instance_uid for proof in missing] == [FIRST]
    fault = missing[0].fault
    assert fault is not None
    assert (fault.code, fault.sop_instance_uid, fault.node) == (FaultCode.NOT_PROVEN, FIRST, "peer")


def test_a_pacs_that_indexes_late_is_asked_again() -> None:
    with ct_scp(behaviour=Behaviour(find_answers=[])) as peer:
        stored = store(peer)

        def index(service: str, number: int) -> None:
            if number > 3:
                peer.behaviour.find_answers = None

        peer.behaviour.before = index
        assert all(proof.present for proof in proofs(peer, stored, waits=(0.01, 0.01)).values())


def test_a_pacs_that_indexes_late_need_not_understand_lists() -> None:
    study = ct_study(4, seed="late")
    with ct_scp(behaviour=Behaviour(find_at_most=1, find_lists=False)) as peer:
        stored = store(peer, study)

        def index(service: str, number: int) -> None:
            if number > 1:
                peer.behaviour.find_at_most = None

        peer.behaviour.before = index
        assert all(each.present for each in node(peer, verify_waits=(0.01,)).verify(study.study_instance_uid, stored))


def test_a_query_that_fails_proves_nothing_and_is_no_denial() -> None:
    with ct_scp(behaviour=Behaviour(find_status=0xC001)) as peer:
        stored = store(peer)
        with pytest.raises(TransferFault) as raised:
            list(node(peer).verify(STUDY.study_instance_uid, stored))
    assert raised.value.fault.code is FaultCode.QUERY_FAILED


@pytest.mark.parametrize(
    ("services", "can"),
    [
        ((Service.STORAGE,), False),
        ((Service.STORAGE, Service.PATIENT_ROOT_FIND), False),
        ((Service.STORAGE, Service.STUDY_ROOT_FIND), True),
    ],
)
def test_only_a_node_with_study_root_find_can_be_asked(services: tuple[Service, ...], *, can: bool) -> None:
    with ct_scp() as peer:
        assert node(peer, services=services).can_verify is can


def test_probing_a_real_pacs_tells_its_services_and_syntaxes(orthanc: Orthanc) -> None:
    probe = node(orthanc).probe()
    assert (probe.reachable, probe.fault) == (True, None)
    assert set(probe.services) == {each.value for each in Service}
    assert "DCMTK" in probe.detail["implementation"]
    assert probe.detail["maximum PDU length"] == "16384"
    assert "JPEG 2000" in probe.detail["transfer syntaxes"]


def test_probing_a_plain_storage_tells_that_it_is_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Storescp(tmp_path_factory.mktemp("probe")) as peer:
        probe = node(peer).probe()
    assert probe.services == (Service.VERIFICATION.value, Service.STORAGE.value)
    assert "JPEG" not in probe.detail["transfer syntaxes"]


def test_probing_what_does_not_answer_is_an_answer_too() -> None:
    with RawPeer(lambda talk: None) as peer:
        probe = node(peer).probe()
    assert not probe.reachable
    assert probe.fault is not None
    assert probe.fault.code is FaultCode.ASSOCIATION_ABORTED
