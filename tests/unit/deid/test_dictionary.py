"""Our way to pydicom's tables answers as pydicom's own does, and imports nothing else of it."""

from __future__ import annotations

import subprocess
import sys

from pydicom._dicom_dict import DicomDictionary
from pydicom._private_dict import private_dictionaries
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_keyword,
    dictionary_VR,
    private_dictionary_VR,
    tag_for_keyword,
)

from adit.deid import dictionary


def test_every_attribute_is_as_pydicom_has_it() -> None:
    for tag in [*DicomDictionary, 0x60003000, 0x00091001, 0x0010FFFF]:
        assert dictionary.is_known(tag) == dictionary_has_tag(tag)
        if dictionary.is_known(tag):
            assert dictionary.vr_of(tag) == dictionary_VR(tag)
            assert dictionary.keyword_of(tag) == dictionary_keyword(tag)
            assert dictionary.tag_of(dictionary.keyword_of(tag)) == tag_for_keyword(dictionary_keyword(tag))
    assert dictionary.tag_of("PatientNam") is None


def test_every_uid_is_as_pydicom_has_it() -> None:
    assert all(map(dictionary.is_registered, UID_dictionary))
    assert not any(map(dictionary.is_registered, ("", "1.2.840.10008.999.1", "1.2.840.10008.", "1.2.3", "2.25.1")))


def test_every_private_element_is_as_pydicom_has_it() -> None:
    expected: str | None
    for creator, elements in private_dictionaries.items():
        for key in elements:
            tag = int(key.replace("x", "1"), 16)
            try:
                expected = private_dictionary_VR(tag, creator)
            except KeyError:
                expected = None  # a key that pydicom itself never looks for
            assert dictionary.private_vr_of(tag, creator) == expected
    assert dictionary.private_vr_of(0x00091001, "NOBODY") is None


def test_the_engine_needs_no_more_of_pydicom_than_its_tables() -> None:
    code = "import sys, adit.transfer.deidentification; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
