"""What must arrive as it is: AE titles on the wire, names in any character set, every byte of the data set."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from tests.faults.system import System, dimse
from tests.peers import Orthanc, ScriptedSCP
from tests.samples import encoded, names_of_the_world

OURS, THEIRS = "ADIT_RESEARCH_16", "PACS_ARCHIVE_016"


def data_set(file: bytes) -> bytes:
    """The encoded data set of a DICOM file: all behind its file meta information."""
    meta_length = int.from_bytes(file[140:144], "little")
    return file[144 + meta_length :]


def test_titles_of_16_characters_and_names_of_the_world(system: System, tmp_path: Path) -> None:
    """Both sides insist on the AE titles; at the destination lies what left the source, bit by bit."""
    studies = names_of_the_world()
    instances = [item for study in studies for item in study.instances]
    source = ScriptedSCP(instances, aet=THEIRS, required_calling=[OURS], required_called=True)
    strict: dict[str, Any] = {
        "DicomCheckCalledAet": True,
        "DicomModalitiesInDatabase": False,
        "DicomModalities": {"adit": [OURS, "127.0.0.1", 104]},
    }
    closed: dict[str, Any] = {"DicomAlwaysAllowStore": False, "DicomAlwaysAllowFind": False}
    with source, Orthanc(tmp_path, aet=THEIRS, **strict, **closed) as destination, system.dispatching():
        nodes = [dimse(name, peer, callingAETitle=OURS) for name, peer in (("pacs", source), ("archive", destination))]
        job = system.job(nodes[0], nodes[1], *studies)
        job.is_green(*studies)
        assert set(source.calling_ae_titles) == {OURS}
        for item in instances:
            arrived = destination.instance_file(str(item.SOPInstanceUID))
            assert data_set(arrived) == encoded(item)
            assert dcmread(BytesIO(arrived)).PatientName == item.PatientName
            assert str(item.PatientName) not in str(job.proof())
