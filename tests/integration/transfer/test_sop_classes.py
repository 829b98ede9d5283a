"""Every SOP class comes, as its source keeps it, also when the source does not name its classes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from adit.dicom.dimse.contexts import COMMON_STORAGE
from adit.model.outcome import Outcome
from tests.integration.transfer.scene import Scene, dimse
from tests.peers import Dcmqrscp, Orthanc, ScriptedSCP
from tests.peers.dcmtk import scu
from tests.samples import TEST_FILES, Study, ct_study, instance, uid


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    tmp = tmp_path_factory.mktemp("orthancs")
    with Orthanc(tmp, aet="SOURCE") as source, Orthanc(tmp, aet="DESTINATION") as destination:
        yield source, destination


@pytest.mark.parametrize("series", [1, 6], ids=["one series", "series by series"])
def test_a_compressed_object_of_a_study_of_many_classes_passes_unchanged(
    scene: Scene, peers: tuple[Orthanc, Orthanc], series: int
) -> None:
    """Orthanc transcodes JPEG-LS and RLE where it is offered no context for them."""
    source, destination = peers
    late = [dcmread(TEST_FILES / name) for name in ("MR_small_jpeg_ls_lossless.dcm", "rtdose_rle.dcm")]
    seed = f"classes-{series}"
    plain = [
        instance(f"{seed}-{at}", study=seed, series=at % series + 1, sop_class=sop_class, patient_id=seed)
        for at, sop_class in enumerate(COMMON_STORAGE)
    ]
    for at, item in enumerate((*plain, *late)):
        item.PatientID, item.StudyInstanceUID = seed, plain[0].StudyInstanceUID
        item.SeriesInstanceUID = uid("series", seed, at % series)
    for at, item in enumerate(late):
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = UID(uid("late", seed, at))
    study = Study((*plain, *late))
    assert [item.file_meta.TransferSyntaxUID for item in late] == [JPEGLSLossless, RLELossless]
    assert len({item.SOPClassUID for item in study.instances}) > 20
    source.upload(*study.files())
    task = scene.task(dimse("source", source), dimse("destination", destination), study.study_instance_uid)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    rows = task.rows()
    for item in study.instances:
        name = str(item.SOPInstanceUID)
        assert rows[name].transfer_syntax_uid == item.file_meta.TransferSyntaxUID
        # Orthanc writes lengths anew when it sends, so the bytes of the whole cannot be compared.
        assert dcmread(BytesIO(destination.instance_file(name))).PixelData == item.PixelData


def test_a_peer_that_names_no_classes_gives_a_structure_set(scene: Scene, tmp_path: Path) -> None:
    rare = instance("rare", study="ct", series=3, sop_class="1.2.840.10008.5.1.4.1.1.481.3", modality="RTSTRUCT")
    study = Study((*ct_study(2).instances, rare))
    with Dcmqrscp(tmp_path) as source, ScriptedSCP(aet="DESTINATION") as destination:
        sent = scu(
            "storescu", "-R", "-aec", source.aet, source.host, str(source.dicom_port), *map(str, study.write(tmp_path))
        )
        assert sent.returncode == 0, sent.stderr
        task = scene.task(dimse("source", source), dimse("destination", destination), study.study_instance_uid)
        report = task.run()
        assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
        assert destination.holds == study.sop_instance_uids
