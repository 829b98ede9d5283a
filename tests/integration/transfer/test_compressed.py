"""Compressed images masked by a worker whose codecs lie apart, as in its image: all that a frame needs, and no more."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    UltrasoundImageStorage,
)

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.order import DecodingOrder
from adit.deid.pixels.syntax import Coding
from adit.deid.profiles import ready
from adit.model.deid_profile import DeidProfile
from tests.integration.transfer.planted import identity, is_clean, planted
from tests.integration.transfer.scene import Scene, folder
from tests.samples import Study

ROOT = Path(__file__).parents[3]
SIZE, BANNER = 64, 8
IMAGE = (np.add.outer(np.arange(SIZE), np.arange(SIZE)) * 2).astype(np.uint8)
JPEG = bytes(imagecodecs.jpeg8_encode(IMAGE, level=90))
SYNTAXES = {
    JPEGBaseline8Bit: JPEG,
    JPEGLosslessSV1: bytes(imagecodecs.jpeg8_encode(IMAGE, lossless=True)),
    JPEGLSLossless: bytes(imagecodecs.jpegls_encode(IMAGE)),
    JPEG2000Lossless: bytes(imagecodecs.jpeg2k_encode(IMAGE, level=0, codecformat="J2K", reversible=True)),
    RLELossless: None,
}
RULE = {
    "name": "scanner-9",
    "when": {"all": [{"attribute": "Modality", "equals": "US"}]},
    "mask": [{"left": 0, "top": 0, "height": BANNER}],
}


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image's Dockerfile makes of the installed packages."""
    tmp = tmp_path_factory.mktemp("image")
    site = Path(sysconfig.get_path("purelib"))
    for pattern in ("numpy*", "imagecodecs*", "rle", "pylibjpeg_rle*"):
        for part in site.glob(pattern):
            shutil.copytree(part, tmp / "site-packages" / part.name)
    subprocess.run([ROOT / "images/worker/set-codecs-apart", tmp / "site-packages", tmp / "codecs"], check=True)
    assert list((tmp / "site-packages").iterdir()) == []  # or pydicom would find numpy
    return tmp / "codecs"


def compressed() -> Study:
    """One image per syntax; what its banner shows names the patient."""
    study = planted(len(SYNTAXES))
    for made, (syntax, codestream) in zip(study.instances, SYNTAXES.items(), strict=True):
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
        made.Modality, made.Rows, made.Columns = "US", SIZE, SIZE
        made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
        if codestream is None:
            made.PixelData = IMAGE.tobytes()
            made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            made.compress(syntax, generate_instance_uid=False)
        else:
            made.PixelData = encapsulate([codestream])
            made.file_meta.TransferSyntaxUID = UID(syntax)
        made["PixelData"].VR = "OB"
    return study


def test_a_study_of_each_compression_is_masked_and_arrives(
    scene: Scene, codecs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = compressed()
    study.write(tmp_path / "source")
    (tmp_path / "target").mkdir()
    scene.key()
    known = ready("basic").model_dump(mode="json", by_alias=True, exclude_none=True)
    profile = DeidProfile.model_validate({**known, "spec": {**known["spec"], "pixels": {"deviceRules": [RULE]}}})
    nodes = folder("source", tmp_path / "source"), folder("target", tmp_path / "target")
    task = scene.task(*nodes, study.study_instance_uid, profile=profile)
    monkeypatch.setenv("ADIT_CODECS", str(codecs))
    worker = task.start()
    assert worker.wait() == 0, worker.log.read_text()

    files = [path.read_bytes() for path in (tmp_path / "target").rglob("*.dcm")]
    arrived = {str(read.SOPInstanceUID): read for read in (dcmread(BytesIO(file)) for file in files)}
    assert len(files) == len(SYNTAXES)
    assert all(is_clean(file, study) for file in files)
    for original in study.instances:
        copy = arrived[identity("basic").uid(str(original.SOPInstanceUID))]
        lossy = original.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        shown = imagecodecs.jpeg8_decode(JPEG) if lossy else IMAGE
        assert not copy.pixel_array[:BANNER].any()
        assert np.array_equal(copy.pixel_array[BANNER:], shown[BANNER:])


def test_codecs_are_taken_from_their_folder_alone(codecs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADIT_CODECS", str(codecs))
    order = DecodingOrder(Coding.JPEG, SIZE, SIZE, 1, 8, 8, signed=False, from_ybr=False)
    with DecoderProcess() as decoder:
        decoder.do(order, JPEG)
        loaded = Path(f"/proc/{decoder.process_id}/maps").read_text(encoding="utf-8").split()
    libraries = {Path(word) for word in loaded if "imagecodecs" in word or "numpy" in word}
    assert libraries
    assert all(path.is_relative_to(codecs) for path in libraries)
