"""The peers themselves: what a fault test relies on must be true before it says anything about us."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from tests import samples
from tests.peers import Behaviour, Certificates, Orthanc, ScriptedSCP, Storescp
from tests.peers.dcmtk import scu
from tests.peers.scripted import STUDY_ROOT_FIND, STUDY_ROOT_GET
from tests.peers.server_process import wait_until


@pytest.fixture
def study() -> samples.Study:
    return samples.ct_study(3, series=2)


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path, aet="SOURCE") as server:
        yield server


def test_orthanc_keeps_what_it_has_over_a_kill(orthanc: Orthanc, study: samples.Study) -> None:
    orthanc.upload(*study.files())
    orthanc.kill()
    orthanc.start()
    assert orthanc.counts() == {"patients": 1, "studies": 1, "series": 2, "instances": 6}
    assert orthanc.instances_of(study.study_instance_uid) == study.sop_instance_uids
    assert orthanc.series_of(study.study_instance_uid) == set(study.series_instance_uids)
    assert orthanc.instance_tags(study.instances[0].SOPInstanceUID)["PatientID"] == "1001"


def test_orthanc_moves_to_the_other_one(orthanc: Orthanc, study: samples.Study, tmp_path: Path) -> None:
    orthanc.upload(*study.files())
    with Orthanc(tmp_path, aet="TARGET") as target:
        orthanc.knows(target.aet, target.host, target.dicom_port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.study_instance_uid}")
        address = ("-aec", orthanc.aet, orthanc.host, str(orthanc.dicom_port))
        moved = scu("movescu", "-S", "-aem", target.aet, *keys, *address)
        assert moved.returncode == 0, moved.stderr
        assert target.instances_of(study.study_instance_uid) == study.sop_instance_uids


def test_orthanc_speaks_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    server = certificates.issue("server")
    with Orthanc(tmp_path, **certificates.orthanc_settings(server)) as orthanc:
        address = (orthanc.host, str(orthanc.dicom_port))
        assert scu("echoscu", "+cf", str(certificates.ca), "+tla", *address).returncode == 0
        assert scu("echoscu", "-to", "2", *address).returncode != 0


def test_storescp_keeps_files(study: samples.Study, tmp_path: Path) -> None:
    paths = study.write(tmp_path / "study")
    with Storescp(tmp_path) as server:
        sent = scu("storescu", server.host, str(server.dicom_port), *map(str, paths))
        assert sent.returncode == 0, sent.stderr
        assert {dcmread(path).SOPInstanceUID for path in server.files()} == study.sop_instance_uids


def find(server: ScriptedSCP, **keys: str) -> tuple[list[Dataset], int | None]:
    query = Dataset()
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    entity = AE()
    entity.add_requested_context(STUDY_ROOT_FIND)
    association = entity.associate(server.host, server.dicom_port)
    assert association.is_established
    answers, status = [], None
    for response, answer in association.send_c_find(query, STUDY_ROOT_FIND):
        status = response.get("Status")
        if answer is not None:
            answers.append(answer)
    if association.is_established:
        association.release()
    return answers, status


def get(server: ScriptedSCP, study_instance_uid: str) -> tuple[list[str], Dataset | None]:
    received: list[str] = []

    def on_store(event: Any) -> int:
        received.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_instance_uid
    entity = AE()
    entity.add_requested_context(STUDY_ROOT_GET)
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(
        server.host,
        server.dicom_port,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, on_store)],
    )
    last = None
    for response, _ in association.send_c_get(query, STUDY_ROOT_GET):
        last = response
    if association.is_established:
        association.release()
    return received, last


def store(server: ScriptedSCP, instances: tuple[Dataset, ...]) -> list[int | None]:
    entity = AE()
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    association = entity.associate(server.host, server.dicom_port)
    statuses: list[int | None] = []
    for item in instances:
        statuses.append(association.send_c_store(item).get("Status"))
        if statuses[-1] is None:
            association.abort()
            break
    if association.is_established:
        association.release()
    return statuses


def test_the_scripted_scp_tells_the_truth_unless_told_otherwise(study: samples.Study) -> None:
    with ScriptedSCP(study.instances) as server:
        uid = study.study_instance_uid
        answers, status = find(server, QueryRetrieveLevel="SERIES", StudyInstanceUID=uid, SeriesInstanceUID="")
        assert ({item.SeriesInstanceUID for item in answers}, status) == (set(study.series_instance_uids), 0)
        assert find(server, QueryRetrieveLevel="STUDY", PatientName="ban*", StudyInstanceUID="") == ([], 0)
        received, last = get(server, uid)
        assert set(received) == study.sop_instance_uids
        assert last is not None
        assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 6)


def test_the_scripted_scp_ignores_keys_and_breaks_off_queries(study: samples.Study) -> None:
    with ScriptedSCP(study.instances) as server:
        server.behaviour.ignored_keys = frozenset({"PatientName"})
        answers, _ = find(server, QueryRetrieveLevel="STUDY", PatientName="Nobody", StudyInstanceUID="")
        assert len(answers) == 1
        server.behaviour.find_status = 0xA700
        assert find(server, QueryRetrieveLevel="STUDY", StudyInstanceUID="")[1] == 0xA700
        server.behaviour.find_abort_after = 0
        assert find(server, QueryRetrieveLevel="STUDY", StudyInstanceUID="") == ([], None)


def test_the_scripted_scp_delivers_less_than_it_announces(study: samples.Study) -> None:
    with ScriptedSCP(study.instances) as server:
        server.behaviour = Behaviour(get_only=2)
        received, last = get(server, study.study_instance_uid)
        assert last is not None
        assert (len(received), last.Status, last.NumberOfCompletedSuboperations) == (2, 0, 2)
        server.behaviour = Behaviour(get_silent_empty=True)
        received, last = get(server, study.study_instance_uid)
        assert last is not None
        assert (received, last.Status, last.NumberOfCompletedSuboperations) == ([], 0, 0)
        server.behaviour = Behaviour(get_only=1, get_status=0xA702)
        received, last = get(server, study.study_instance_uid)
        assert last is not None
        assert (len(received), last.Status) == (1, 0xA702)
        server.behaviour = Behaviour(get_abort_after=3)
        received, last = get(server, study.study_instance_uid)
        assert len(received) == 3
        assert last is None or "Status" not in last


def test_the_scripted_scp_refuses_loses_and_aborts(study: samples.Study) -> None:
    first, second, *_, last = study.instances
    behaviour = Behaviour(store_status={first.SOPInstanceUID: 0xA700}, lost=frozenset({second.SOPInstanceUID}))
    with ScriptedSCP(behaviour=behaviour) as server:
        assert store(server, study.instances) == [0xA700, 0, 0, 0, 0, 0]
        assert server.holds == study.sop_instance_uids - {first.SOPInstanceUID, second.SOPInstanceUID}
        assert server.stores()[second.SOPInstanceUID] == 1
        assert server.received[-1].data == samples.encoded(last)
        server.behaviour = Behaviour(store_abort_after=8)
        assert store(server, study.instances) == [0, 0, None]
        assert store(server, study.instances) == [0] * 6  # it aborts once


def test_the_scripted_scp_closes_what_its_peer_has_reset() -> None:
    """Else the garbage collector warns, in whichever test is running then."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        wait_until(lambda: bool(select.select([near], [], [], 0)[0]), "the reset has arrived")
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        AssociationSocket(Association(AE(), "acceptor"), client_socket=near).close()
        assert near.fileno() == -1
