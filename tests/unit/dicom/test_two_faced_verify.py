"""What a node of two faces lacks is asked for by name only where one question holds many names."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import cast

import pytest

from adit.dicom.dicomweb.node import DicomWebNode
from adit.dicom.dimse.node import DimseNode
from adit.dicom.node import Answer, Query, StoreChannel, Stored
from adit.dicom.two_faced.node import TwoFacedNode
from adit.model.dicom_node import Dimse
from adit.model.dicom_web import DicomWeb


class _Face:
    """It lists the first of three, whatever it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def find(self, query: Query) -> Iterator[Answer]:
        self.asked.append(query.keys.get("SOPInstanceUID"))
        yield {"SOPInstanceUID": "1"}

    def open_store(self, sop_class_uids: Collection[str]) -> StoreChannel:
        raise NotImplementedError


@pytest.mark.parametrize("finds", [[], ["StudyRootFind"]], ids=["QIDO", "C-FIND"])
def test_names_are_asked_for_where_c_find_answers(finds: list[str]) -> None:
    dimse, web = _Face(), _Face()
    faces = (
        Dimse.model_validate(
            {"aeTitle": "PACS", "host": "pacs.example.org", "port": 104, "services": ["Storage", *finds]}
        ),
        DicomWeb.model_validate({"url": "https://pacs.example.org/dicom-web", "services": ["QIDO-RS", "STOW-RS"]}),
    )
    node = TwoFacedNode("pacs", faces, cast(DimseNode, dimse), cast(DicomWebNode, web), verify_waits=(0.0, 0.0))
    stored = [Stored(uid, "1.2.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2", 1, "") for uid in "123"]
    assert [(each.sop_instance_uid, each.present) for each in node.verify("1.2", stored)] == [
        ("1", True),
        ("2", False),
        ("3", False),
    ]
    assert (dimse if finds else web).asked[0] is None
    assert ("2\\3" in dimse.asked, set(web.asked) - {None}) == (bool(finds), set())
