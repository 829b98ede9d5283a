"""Whose an object is shows in its head, however the bytes come; until then it is held, and never more than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from adit.dicom.dimse.command import Command, CommandField
from adit_receiver.counts import Fate
from adit_receiver.incoming import Incoming
from adit_receiver.outlet import Arrival, Refused
from tests.samples import encoded, instance

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


class Basket:
    """Implements `Outlets` and `Outlet` for one object; refuses at a step if told to."""

    def __init__(self, refuse_at: str = "") -> None:
        self.arrivals: list[Arrival] = []
        self.content = b""
        self.refuse_at = refuse_at
        self.steps: list[str] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if self.refuse_at == name:
            raise Refused(Fate.LOST, 0xA700)

    def open(self, arrival: Arrival) -> Basket:
        self._step("open")
        self.arrivals.append(arrival)
        return self

    def write(self, piece: memoryview) -> None:
        self._step("write")
        self.content += piece

    def finish(self) -> None:
        self._step("finish")

    def abandon(self) -> None:
        self.steps.append("abandon")

    def close(self) -> None:
        return


def incoming(uid: str, syntax: str, basket: Basket, longest: int = 2**30, move: int | None = None) -> Incoming:
    asked = Command(
        field=CommandField.C_STORE_RQ, has_data_set=True, sop_instance_uid=uid, move_originator_message_id=move
    )
    return Incoming(asked, "1.2.840.10008.5.1.4.1.1.2", syntax, basket, longest)


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(header=st.integers(0, 60_000), piece=st.integers(1, 70_000))
def test_whatever_the_pieces_are(syntax: str, header: int, piece: int) -> None:
    made = instance("pieces", transfer_syntax=syntax, size=64)
    if header:
        made.private_block(0x0009, "ADIT", create=True).add_new(1, "OB", bytes(header + header % 2))
    data, basket = encoded(made), Basket()
    ours = incoming(str(made.SOPInstanceUID), syntax, basket, move=7)
    for start in range(0, len(data), max(piece, len(data) // 100)):
        ours.write(memoryview(data)[start : start + max(piece, len(data) // 100)])
    assert ours.finish() == 0
    assert basket.content == data
    [arrival] = basket.arrivals
    assert arrival.study_instance_uid == made.StudyInstanceUID
    assert arrival.series_instance_uid == made.SeriesInstanceUID
    assert arrival.sop_instance_uid == made.SOPInstanceUID
    assert arrival.own_sop_class_uid == made.SOPClassUID
    assert (arrival.move_message_id, ours.fate) == (7, Fate.TAKEN)


@pytest.mark.parametrize("step", ["open", "write", "finish"])
def test_refused_on_its_way(step: str) -> None:
    made, basket = instance("refused", size=200), Basket(step)
    ours = incoming(str(made.SOPInstanceUID), ExplicitVRLittleEndian, basket)
    data = memoryview(encoded(made))
    for start in range(0, len(data), 10_000):
        ours.write(data[start : start + 10_000])
    assert (ours.finish(), ours.fate) == (0xA700, Fate.LOST)
    assert basket.steps.count(step) == 1
    assert ("abandon" in basket.steps) is (step != "open")


def test_a_message_id_of_zero_is_none() -> None:
    made, basket = instance("zero"), Basket()
    ours = incoming(str(made.SOPInstanceUID), ExplicitVRLittleEndian, basket, move=0)
    ours.write(memoryview(encoded(made)))
    assert ours.finish() == 0
    assert basket.arrivals[0].move_message_id is None


def test_nothing_is_success_that_has_no_end() -> None:
    basket = Basket()
    assert incoming("1.2.3", ExplicitVRLittleEndian, basket).finish() == 0xC000
    assert basket.steps == []
