"""Every file that comes with pydicom is handled, or refused for a reason that can be told; pixels stay as they were."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread

from adit.deid.engine.irregular import treat_irregular
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, encoded_file_meta, read_file_meta
from tests.unit.deid.engine.encoded import engine

FOLDER = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    file
    for file in FOLDER.rglob("*")
    if file.is_file() and (file.suffix == ".dcm" or "DICOMDIR" in file.name) and "charset" not in file.name
)
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
PIXELS = {"secondaryCaptures": "AsRisky", "burnedInUnknown": "Pass"}
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED}
REFUSED = {Reason.PIXELS, Reason.MALFORMED, Reason.IDENTIFIERS_MISSING, Reason.DUPLICATE_ELEMENT}

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
    for file in FILES:
        try:
            data, syntax = data_set(file)
            treated = made.treat(data, syntax)
        except NotDicomError:
            continue
        except Quarantine as refused:
            if refused.reason not in REFUSED:
                raise
            told["refused"] += 1
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
            if syntax in NATIVE:  # of the others, comments within the codestream are blanked
                assert found.PixelData == original.PixelData, file.name
    assert told[BIG_ENDIAN] >= 5
    assert told[DEFLATED] >= 1
    assert told["refused"] <= 26
    assert sum(told.values()) >= 90


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
