"""Every file of pydicom and pydicom-data is handled, or refused for its reason; pixels stay as they were."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import data_store
import pydicom
import pytest
from pydicom import dcmread

from adit.deid.engine.irregular import treat_irregular
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, encoded_file_meta, read_file_meta
from tests.unit.deid.engine.encoded import engine

FOLDERS = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent / "data")
FILES = sorted(
    file for folder in FOLDERS for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")
)
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
PIXELS = {"secondaryCaptures": "AsRisky", "burnedInUnknown": "Pass"}
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED}
TEXTS = {".txt", ".md", ".icc", ".dump", ".gz", ""}
REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": Reason.PIXELS,
    "MR_truncated.dcm": Reason.MALFORMED,
    "badVR.dcm": Reason.PIXELS,
    "emri_small_jpeg_2k_lossless_too_short.dcm": Reason.MALFORMED,
    "rtplan_truncated.dcm": Reason.MALFORMED,
    "winter.dcm": Reason.DUPLICATE_ELEMENT,
    **dict.fromkeys(  # directories, and parts of instances
        (
            *("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty.dcm", "DICOMDIR-implicit", "DICOMDIR-nooffset"),
            *("DICOMDIR-nopatient", "DICOMDIR-reordered", "SC_rgb_jpeg.dcm", "UN_sequence.dcm", "chrSQEncoding.dcm"),
            *("chrSQEncoding1.dcm", "empty_charset_LEI.dcm", "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm"),
            *("no_meta.dcm", "no_meta_group_length.dcm", "priv_SQ.dcm"),
            *("hashes.json", "test1.json", "test_PN.json", "urls.json"),
        ),
        Reason.IDENTIFIERS_MISSING,
    ),
    **dict.fromkeys(  # more bits than are stored, compressed: no decoder is given here
        ("693_J2KI.dcm", "bad_sequence.dcm", "emri_small_jpeg_2k_lossless.dcm", "emri_small_jpeg_ls_lossless.dcm"),
        Reason.PIXELS,
    ),
    **dict.fromkeys(  # ultrasound to be masked: likewise; without coordinates that make sense
        (
            *("JPGLosslessP14SV1_1s_1f_8b.dcm", "OBXXXX1A_rle.dcm", "OBXXXX1A_rle_2frame.dcm"),
            *("color3d_jpeg_baseline.dcm", "examples_ybr_color.dcm", "examples_palette.dcm"),
        ),
        Reason.PIXELS,
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore")


def data_set(file: Path) -> tuple[bytes, str]:
    with file.open("rb") as reader:
        meta = read_file_meta(reader)
        reader.seek(meta.offset)
        return reader.read(), meta.transfer_syntax_uid


@pytest.mark.parametrize(
    "options",
    [
        (),
        (
            *("RetainLongitudinalModifiedDates", "CleanDescriptors", "CleanStructuredContent", "CleanGraphics"),
            *("RetainSafePrivate", "RetainDeviceIdentity", "RetainPatientCharacteristics"),
        ),
    ],
    ids=["basic", "research"],
)
def test_each_is_handled_or_refused(options: tuple[str, ...]) -> None:
    made = engine(*options, pixels=PIXELS)
    told: Counter[str] = Counter()
    reasons: dict[str, Reason] = {}
    for file in FILES:
        try:
            data, syntax = data_set(file)
            treated = made.treat(data, syntax)
        except NotDicomError:
            assert file.suffix in TEXTS, file.name
            continue
        except Quarantine as refused:
            reasons[file.name] = refused.reason
            continue
        told[syntax] += 1
        meta = encoded_file_meta(treated.sop_class_uid, treated.sop_instance_uid, syntax)
        found = dcmread(BytesIO(meta + b"".join(treated.pieces())))
        original = dcmread(file, force=True)
        for element in found.iterall():
            assert element.tag.group % 2 == 0 or "RetainSafePrivate" in options
        assert found.PatientIdentityRemoved == "YES"
        assert str(found.get("PatientName", "")) in ("", treated.subject.pseudonym)
        if "PixelData" in original:
            assert len(found.PixelData) == len(original.PixelData), file.name
            masked = any(change.rule.startswith("pixels") for change in treated.changes)
            if syntax in NATIVE and not masked:  # of the others, comments within the codestream are blanked
                assert found.PixelData == original.PixelData, file.name
    assert reasons == REFUSED
    assert told[BIG_ENDIAN] == 19
    assert told[DEFLATED] == 1
    assert sum(told.values()) == 226


def test_both_walks_agree_on_them() -> None:
    from tests.unit.deid.engine.test_both_walks import meaning

    made = engine(
        "RetainLongitudinalModifiedDates",
        "CleanDescriptors",
        "CleanStructuredContent",
        "RetainSafePrivate",
        pixels=PIXELS,
    )
    compared = 0
    for file in FILES:
        try:
            data, syntax = data_set(file)
            if syntax in (BIG_ENDIAN, DEFLATED) or len(data) > 300_000:
                continue
            one, other = made.treat(data, syntax), treat_irregular(made, data, syntax, None, None)
        except (NotDicomError, Quarantine):
            continue
        implicit = syntax == "1.2.840.10008.1.2"
        if syntax.startswith("1.2.840.10008.1.2.4") or syntax == "1.2.840.10008.1.2.5":
            assert Counter(each.text for each in one.changes) == Counter(each.text for each in other.changes)
            continue  # fragments are no elements
        told = [meaning(b"".join(each.pieces()), implicit) for each in (one, other)]
        assert told[0] == told[1], file.name
        compared += 1
    assert compared >= 30
