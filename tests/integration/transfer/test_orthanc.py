"""Orthanc to Orthanc: what arrived is what Orthanc's own REST API says."""

from __future__ import annotations

from pathlib import Path

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, dimse, folder
from tests.peers import Orthanc
from tests.samples import ct_study, encoded, mixed_study


def test_a_whole_study_and_one_series_arrive_byte_for_byte(scene: Scene, tmp_path: Path) -> None:
    study = mixed_study()
    with Orthanc(tmp_path, aet="SOURCE") as source, Orthanc(tmp_path, aet="DESTINATION") as destination:
        source.upload(*study.files())
        whole = scene.task(
            dimse("source", source),
            dimse("destination", destination),
            study.study_instance_uid,
            patient_id=study.patient_id,
        )
        report = whole.run()
        assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
        assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids
        assert destination.counts()["instances"] == len(study.instances)
        assert whole.states() == dict.fromkeys(study.sop_instance_uids, InstanceState.VERIFIED)
        assert report.progress.road == "C-GET"
