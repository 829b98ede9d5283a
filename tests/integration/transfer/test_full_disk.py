"""A folder on a disk that fills up: the attempt ends soon and says so, the next one goes on when there is room."""

from __future__ import annotations

from pathlib import Path

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, dimse, folder
from tests.peers import ScriptedSCP
from tests.peers.small_disk import SmallDisk
from tests.samples import ct_study


def test_a_destination_that_is_full_half_way(scene: Scene, tmp_path: Path) -> None:
    study = ct_study(40, seed="full", size=128)
    with ScriptedSCP(study.instances, aet="SOURCE") as source, SmallDisk(tmp_path, 600 * 2**10) as disk:
        task = scene.task(dimse("source", source), folder("archive", disk.path), study.study_instance_uid)
        report = task.run(again=True)
        assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.DISK_FULL)
        assert report.faults[0].node == "archive"
        assert report.faults[0].cure
        first = task.count(InstanceState.STORED, InstanceState.VERIFIED)
        assert 0 < first < 40
        disk.grow(2**23)
        assert task.run().outcome is Outcome.SUCCESS
        assert {path.stem for path in disk.path.rglob("*.dcm")} == study.sop_instance_uids
        assert set(task.states().values()) == {InstanceState.VERIFIED}
        fetched_again = {
            str(uid)
            for query in source.queries
            if query.QueryRetrieveLevel == "IMAGE" and query.get("SOPInstanceUID")
            for uid in ([query.SOPInstanceUID] if isinstance(query.SOPInstanceUID, str) else query.SOPInstanceUID)
        }
        assert len(fetched_again) == 40 - first
