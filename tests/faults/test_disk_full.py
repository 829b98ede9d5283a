"""A disk that is full: told by node, instance and cure; when there is room, the same job goes on and finishes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydicom import dcmread

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode
from tests.faults.system import System, dimse, folder
from tests.peers import ScriptedSCP
from tests.peers.small_disk import SmallDisk
from tests.samples import ct_study

STUDY = ct_study(6, seed="disk", size=128)
HALF = 4 * 32 * 2**10
"""Room for three instances of 32 KiB with their headers."""


def test_a_full_disk_is_told_and_the_same_job_finishes_when_there_is_room(system: System, tmp_path: Path) -> None:
    with (
        SmallDisk(tmp_path, HALF) as disk,
        ScriptedSCP(STUDY.instances, aet="SOURCE") as source,
        system.dispatching(),
    ):
        job = system.job(dimse("pacs", source), folder("share", disk.path), STUDY)
        fault = job.first_fault()
        assert (fault.code, fault.node) == (FaultCode.DISK_FULL, "share")
        assert any(row.fault_code is FaultCode.DISK_FULL for row in job.rows.values())
        disk.grow(2**20)
        job.is_green(STUDY)
        files = [path for path in disk.path.rglob("*") if path.is_file()]
        assert Counter(str(dcmread(path).SOPInstanceUID) for path in files) == Counter(STUDY.sop_instance_uids)
        assert job.in_state(InstanceState.VERIFIED) == STUDY.sop_instance_uids
