"""Our association PDUs are pynetdicom's to the byte, and we read what it writes as it does itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from adit.dicom.dimse.contexts import COMMON_STORAGE, TRANSFER_SYNTAXES, for_get
from adit.dicom.dimse.negotiation import (
    APPLICATION_CONTEXT,
    Context,
    MalformedError,
    Proposal,
    agreement,
    request,
)
from adit.dicom.dimse.peer import Peer
from adit.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from adit.model.dicom_node import Dimse

PEER = Peer("pacs", Dimse(ae_title="THE PACS", calling_ae_title="ADIT", host="127.0.0.1", port=104))
PROPOSALS = st.lists(
    st.builds(
        Proposal,
        st.sampled_from(COMMON_STORAGE),
        st.lists(st.sampled_from(TRANSFER_SYNTAXES), min_size=1, max_size=30, unique=True).map(tuple),
        st.booleans(),
    ),
    min_size=1,
    max_size=128,
)


def notifications(maximum: int) -> list[Any]:
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, implementation, version]


def primitive(contexts: list[PresentationContext], information: list[Any]) -> A_ASSOCIATE:
    made = A_ASSOCIATE()
    made.application_context_name = UID(APPLICATION_CONTEXT)
    made.calling_ae_title, made.called_ae_title = "ADIT", "THE PACS"
    made.user_information = information
    return made


def as_context(index: int, abstract: str | None, syntaxes: tuple[str, ...]) -> PresentationContext:
    context = PresentationContext()
    context.context_id = 2 * index + 1
    if abstract is not None:
        context.abstract_syntax = UID(abstract)
    context.transfer_syntax = [UID(syntax) for syntax in syntaxes]
    return context


def role(uid: str) -> SCP_SCU_RoleSelectionNegotiation:
    made = SCP_SCU_RoleSelectionNegotiation()
    made.sop_class_uid = UID(uid)
    made.scu_role, made.scp_role = False, True
    return made


@settings(deadline=None)
@given(PROPOSALS)
def test_a_request_is_what_pynetdicom_makes_of_it(proposals: list[Proposal]) -> None:
    roles = sorted({proposal.abstract_syntax for proposal in proposals if proposal.as_scp})
    made = primitive([], [*notifications(0), *map(role, roles)])
    made.presentation_context_definition_list = [
        as_context(index, proposal.abstract_syntax, proposal.transfer_syntaxes)
        for index, proposal in enumerate(proposals)
    ]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(made)
    assert request(PEER, proposals) == bytes(pdu.encode())


def acceptance(results: dict[int, tuple[int, str]], maximum: int) -> bytes:
    contexts = []
    for index, (result, syntax) in results.items():
        context = as_context(index, None, (syntax,))
        context.result = result
        contexts.append(context)
    made = primitive([], notifications(maximum))
    made.presentation_context_definition_results_list = contexts
    made.result = 0
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(made)
    return bytes(pdu.encode())


@settings(deadline=None)
@given(PROPOSALS, st.data(), st.integers(0, 2**32 - 1))
def test_an_acceptance_says_what_pynetdicom_wrote(proposals: list[Proposal], data: st.DataObject, maximum: int) -> None:
    answered = data.draw(
        st.dictionaries(
            st.integers(0, len(proposals) - 1),
            st.tuples(st.integers(0, 4), st.sampled_from(TRANSFER_SYNTAXES)),
        )
    )
    agreed = agreement(acceptance(answered, maximum), proposals)
    assert (agreed.max_pdu, agreed.implementation) == (maximum, IMPLEMENTATION_VERSION_NAME)
    for index, (context, proposal) in enumerate(zip(agreed.contexts, proposals, strict=True)):
        result, syntax = answered.get(index, (2, proposal.transfer_syntaxes[0]))
        if result == 0 and syntax not in proposal.transfer_syntaxes:
            result = 4
        assert context == Context(2 * index + 1, proposal.abstract_syntax, syntax, result)


def test_an_item_that_nobody_knows_is_passed_over() -> None:
    [proposal] = [Proposal(COMMON_STORAGE[0], (TRANSFER_SYNTAXES[0],))]
    pdu = acceptance({0: (0, TRANSFER_SYNTAXES[0])}, 16384) + b"\x7f\x00\x00\x02ab"
    assert agreement(pdu, [proposal]).contexts[0].result == 0


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_malformed_or_refuses(noise: bytes) -> None:
    proposals = for_get(COMMON_STORAGE[0], ())
    try:
        agreed = agreement(b"\x02\x00" + noise, proposals)
    except MalformedError:
        return
    assert len(agreed.contexts) == len(proposals)


def test_every_shortened_acceptance_is_malformed_or_says_less() -> None:
    proposals = [Proposal(COMMON_STORAGE[0], (TRANSFER_SYNTAXES[0],))]
    whole = acceptance({0: (0, TRANSFER_SYNTAXES[0])}, 16384)
    with pytest.raises(MalformedError):
        agreement(whole[:-1], proposals)
    for end in range(len(whole)):
        try:
            agreed = agreement(whole[:end], proposals)
        except MalformedError:
            continue
        assert agreed.contexts[0].result in (0, 2)
