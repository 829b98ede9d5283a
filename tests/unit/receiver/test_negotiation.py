"""We read what pynetdicom asks for, and pynetdicom reads what we answer; nothing of it can make us stumble."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext

from adit.dicom.dimse.contexts import COMMON_STORAGE, EXPLICIT_LE, IMPLICIT_LE, TRANSFER_SYNTAXES
from adit.dicom.dimse.negotiation import MalformedError
from adit_receiver import negotiation
from adit_receiver.admission import may_connect, refusal
from adit_receiver.negotiation import Rejection
from adit_receiver.settings import ReceiverSettings
from tests.unit.dicom.test_dimse_negotiation import as_context, notifications, primitive

JPEG_2000 = "1.2.840.10008.1.2.4.90"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.3.6.1.4.1.12345.1"


def asked(contexts: list[PresentationContext], maximum: int = 16384) -> bytes:
    made = primitive(contexts, notifications(maximum))
    made.presentation_context_definition_list = contexts
    encoded: bytes = A_ASSOCIATE_RQ(made).encode()
    return encoded


CONTEXTS = st.lists(
    st.tuples(
        st.sampled_from([*COMMON_STORAGE, STUDY_ROOT_FIND, PRIVATE]),
        st.lists(st.sampled_from(TRANSFER_SYNTAXES), min_size=1, max_size=30, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=128,
)


@given(CONTEXTS, st.sampled_from([0, 16384, 131072]))
def test_what_pynetdicom_asks_and_what_it_makes_of_our_answer(
    proposed: list[tuple[str, tuple[str, ...]]], maximum: int
) -> None:
    request = negotiation.read(asked([as_context(n, *each) for n, each in enumerate(proposed)], maximum)[6:])
    assert [(each.abstract_syntax, each.transfer_syntaxes) for each in request.contexts] == proposed
    assert (request.called, request.calling, request.max_pdu, request.version) == ("THE PACS", "ADIT", maximum, 1)
    answered = negotiation.answers(request.contexts)
    acceptance: Any = A_ASSOCIATE_AC()
    acceptance.decode(negotiation.acceptance(request, answered, 131072))
    results = [(each.context_id, each.result) for each in acceptance.presentation_context]
    assert results == [(each.id, each.result) for each in answered]
    for (abstract, syntaxes), ours, theirs in zip(proposed, answered, acceptance.presentation_context, strict=True):
        assert ours.accepted is (abstract != STUDY_ROOT_FIND)
        if ours.accepted:
            assert theirs.transfer_syntax == ours.transfer_syntax
            assert ours.transfer_syntax in syntaxes
    assert acceptance.user_information.maximum_length == 131072


@pytest.mark.parametrize("why", Rejection)
def test_a_rejection_is_one(why: Rejection) -> None:
    rejection: Any = A_ASSOCIATE_RJ()
    rejection.decode(negotiation.rejection(why))
    assert (rejection.result, rejection.source, rejection.reason_diagnostic) == why.value


def test_every_storage_class_of_the_standard_and_of_vendors() -> None:
    """The retired ones as well, which pynetdicom does not list; and none of those without a study."""
    without_a_study = {"38.1", "39.1", "43.1", "44.1", "45.1"}  # hanging protocols, palettes, templates of implants
    retired = [uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name]
    storage = {*map(str, (each.abstract_syntax for each in AllStoragePresentationContexts)), *retired}
    storage -= {uid for uid in storage if uid.startswith("1.2.840.10008.1.")}  # commitment, directories
    refused = [uid for uid in storage if not negotiation.takes(uid)]
    assert {uid.removeprefix("1.2.840.10008.5.1.4.") for uid in refused} <= without_a_study
    assert negotiation.takes(PRIVATE)
    for other in (STUDY_ROOT_FIND, "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.20.1", ""):
        assert not negotiation.takes(other)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((JPEG_2000, EXPLICIT_LE, IMPLICIT_LE), JPEG_2000),
        ((EXPLICIT_LE, JPEG_2000), EXPLICIT_LE),  # else the sender might compress
        ((IMPLICIT_LE, EXPLICIT_LE), EXPLICIT_LE),
        ((IMPLICIT_LE, JPEG_2000), IMPLICIT_LE),
    ],
)
def test_the_senders_own_syntax_is_the_best(offered: tuple[str, ...], chosen: str) -> None:
    [answer] = negotiation.answers([negotiation.Asked(1, COMMON_STORAGE[0], offered)])
    assert answer.transfer_syntax == chosen


@given(st.binary(max_size=300), st.integers(0, 2**16))
def test_garbage_is_malformed_and_nothing_worse(garbage: bytes, position: int) -> None:
    with contextlib.suppress(MalformedError):
        negotiation.read(garbage)
    honest = asked([as_context(0, COMMON_STORAGE[0], (EXPLICIT_LE,))])[6:]
    at = position % len(honest)
    with contextlib.suppress(MalformedError):
        negotiation.read(honest[:at] + garbage + honest[at + len(garbage) :])


def test_who_may_connect() -> None:
    networks = ReceiverSettings(networks="10.1.0.0/16, 2001:db8::/32").calling_networks
    assert may_connect("10.1.2.3", networks)
    assert may_connect("::ffff:10.1.2.3", networks)
    assert may_connect("2001:db8::1", networks)
    assert not may_connect("10.2.0.1", networks)
    assert not may_connect("fe80::1%eth0", networks)
    assert may_connect("10.2.0.1", ())


def test_who_may_associate() -> None:
    request = negotiation.read(asked([as_context(0, COMMON_STORAGE[0], (EXPLICIT_LE,))])[6:])
    assert refusal(request, ReceiverSettings(ae_titles="")) is None
    assert refusal(request, ReceiverSettings(ae_titles="X, THE PACS", callers="ADIT")) is None
    assert refusal(request, ReceiverSettings()) is Rejection.CALLED_AE_TITLE
    assert refusal(request, ReceiverSettings(ae_titles="", callers="adit")) is Rejection.CALLING_AE_TITLE
