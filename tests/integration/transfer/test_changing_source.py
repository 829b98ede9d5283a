"""A file that is written anew while it is read: what was sent of it is half of each, and must not count."""

from __future__ import annotations

import threading
from pathlib import Path

from adit.model.assignment import Report
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, dimse, folder
from tests.peers import ScriptedSCP
from tests.peers.cut_wire import CutWire
from tests.samples import ct_study, encoded, instance, part10


def test_a_file_that_is_overwritten_amid_its_transfer(scene: Scene, tmp_path: Path) -> None:
    """In place, with the same name, size and UIDs; more of it is to come than any buffer on the way can hold."""
    big = instance("changing", study="ct", series=9, size=4096)  # 32 MiB
    small = ct_study(2)
    [path, *_] = [tmp_path / "a.dcm", *small.write(tmp_path)]
    path.write_bytes(part10(big))
    reports: list[Report] = []
    scene.associations = 1
    with ScriptedSCP(aet="DESTINATION") as destination:
        host, port = destination.host, destination.dicom_port
        with CutWire(host, port, hold_after=2**20) as wire:
            destination.dicom_port = wire.port
            task = scene.task(folder("source", tmp_path), dimse("destination", destination), str(big.StudyInstanceUID))
            destination.dicom_port = port
            running = threading.Thread(target=lambda: reports.append(task.run(again=True)))
            running.start()
            assert wire.held.wait(60)
            big.PixelData = bytes(len(big.PixelData))
            with path.open("r+b") as file:
                file.write(part10(big))
            wire.goes_on.set()
            running.join()
            [report] = reports
            assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.IO_FAILED)
            assert "changed" in report.faults[0].message
            assert task.count(InstanceState.VERIFIED) == 2  # the others went all the same
            assert task.run().outcome is Outcome.SUCCESS
        got = [each.data for each in destination.received if each.sop_instance_uid == big.SOPInstanceUID]
        assert got == [encoded(big)]
