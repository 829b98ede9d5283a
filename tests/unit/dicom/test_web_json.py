"""DICOM JSON as servers write it: what pydicom reads of it, and what is none."""

import json

import pytest

from adit.dicom.dicomweb.json_answer import MalformedError, documents, values
from tests.samples import ct_study, names_of_the_world


def test_the_values_are_pydicoms() -> None:
    for dataset in (*ct_study(1).instances, *(study.instances[0] for study in names_of_the_world())):
        del dataset.PixelData
        [document] = documents(json.dumps([dataset.to_json_dict()]).encode())
        read = values(document, {f"{element.tag:08X}": element.keyword for element in dataset})
        for element in dataset:
            if element.keyword != "SpecificCharacterSet":
                assert read[element.keyword] == ("" if element.value is None else str(element.value).rstrip("="))


def test_numbers_several_values_and_what_is_left_out() -> None:
    document = {
        "00080061": {"vr": "CS", "Value": ["CT", "MR"]},
        "00081110": {"vr": "SQ", "Value": [{}]},
        "00201208": {"vr": "IS", "Value": [5.0]},
        "00201206": {"vr": "IS", "Value": ["2"]},
        "0020000d": {"vr": "UI", "Value": ["1.2"]},
        "00080018": {"vr": "UI"},
        "00100010": {"vr": "PN", "Value": [None]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://x"},
        "00090010": {"vr": "LO", "Value": ["private"]},
        "garbage": 5,
    }
    wanted = {
        "00080061": "ModalitiesInStudy",
        "00081110": "ReferencedStudySequence",
        "00201208": "NumberOfStudyRelatedInstances",
        "00201206": "NumberOfStudyRelatedSeries",
        "0020000D": "StudyInstanceUID",
        "00080018": "SOPInstanceUID",
        "00100010": "PatientName",
        "7FE00010": "PixelData",
    }
    assert values(document, wanted) == {
        "ModalitiesInStudy": ["CT", "MR"],
        "NumberOfStudyRelatedInstances": "5",
        "NumberOfStudyRelatedSeries": "2",
        "StudyInstanceUID": "1.2",
        "SOPInstanceUID": "",
        "PatientName": "",
    }


@pytest.mark.parametrize("element", ["1", {"Value": "1"}, {"Value": [["1"]]}, None])
def test_what_is_none_is_told(element: object) -> None:
    with pytest.raises(MalformedError):
        values({"00100020": element}, {"00100020": "PatientID"})


def test_no_body_is_no_data_set() -> None:
    assert documents(b"") == documents(b" \n") == documents(b"[]") == []
