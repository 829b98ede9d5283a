"""Presentation contexts and roles, asked for and agreed on: the A-ASSOCIATE PDUs (PS3.8 9.3.2, 9.3.3).

Called by `association`; what to propose is decided in `contexts`. pynetdicom encodes and decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_requestor

from adit.dicom.dimse.peer import Peer
from adit.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
MAX_CONTEXTS: Final = 128  # presentation context ids are the odd numbers of one byte
_TRANSFER_SYNTAXES_REFUSED: Final = 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """One presentation context to propose (PS3.8 section 7.1.1.13)."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    as_scp: bool = False  # we ask for the SCP role, to receive by C-GET


@dataclass(frozen=True, slots=True)
class Context:
    """What the peer made of a proposal.

    `result` 0 is acceptance, 3 refuses the abstract syntax, 4 the transfer syntaxes, 1 and 2 say less.
    """

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int


@dataclass(frozen=True, slots=True)
class Agreement:
    contexts: tuple[Context, ...]  # one for each proposal, in their order
    max_pdu: int  # what the peer takes; 0 is unlimited
    implementation: str


def request(peer: Peer, proposals: Sequence[Proposal]) -> bytes:
    """An encoded A-ASSOCIATE-RQ; we take PDUs of any length, and ask for the SCP role where proposed."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = peer.dimse.calling_ae_title
    primitive.called_ae_title = peer.dimse.ae_title
    primitive.presentation_context_definition_list = _presentation_contexts(proposals)
    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = 0
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    roles = sorted({proposal.abstract_syntax for proposal in proposals if proposal.as_scp})
    primitive.user_information = [maximum_length, implementation, version, *map(_scp_role, roles)]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def agreement(pdu: bytes, proposals: Sequence[Proposal]) -> Agreement:
    """Reads an A-ASSOCIATE-AC. Raises whatever pynetdicom raises when it cannot be read."""
    acceptance = A_ASSOCIATE_AC()
    acceptance.decode(pdu)
    primitive = acceptance.to_primitive()
    max_pdu, implementation = 0, ""
    for item in primitive.user_information:
        if isinstance(item, MaximumLengthNotification):
            max_pdu = item.maximum_length_received or 0
        elif isinstance(item, ImplementationVersionNameNotification):
            implementation = item.implementation_version_name or ""
    # What the peer makes of the SCP role is not asked for: some leave it out and send all the same.
    answers = negotiate_as_requestor(
        _presentation_contexts(proposals), primitive.presentation_context_definition_results_list
    )
    contexts = tuple(_context(answer, proposal) for answer, proposal in zip(answers, proposals, strict=True))
    return Agreement(contexts, max_pdu, implementation)


def _context(answer: PresentationContext, proposal: Proposal) -> Context:
    chosen = str(answer.transfer_syntax[0]) if answer.transfer_syntax else ""
    result = _TRANSFER_SYNTAXES_REFUSED if answer.result is None else answer.result
    if result == 0 and chosen not in proposal.transfer_syntaxes:
        result = _TRANSFER_SYNTAXES_REFUSED  # accepted in a syntax that nobody proposed: of no use
    return Context(answer.context_id or 0, proposal.abstract_syntax, chosen, result)


def _presentation_contexts(proposals: Sequence[Proposal]) -> list[PresentationContext]:
    contexts = []
    for index, proposal in enumerate(proposals):
        context = PresentationContext()
        context.context_id = 2 * index + 1
        context.abstract_syntax = UID(proposal.abstract_syntax)
        context.transfer_syntax = [UID(syntax) for syntax in proposal.transfer_syntaxes]
        contexts.append(context)
    return contexts


def _scp_role(sop_class_uid: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = UID(sop_class_uid)
    role.scu_role, role.scp_role = False, True
    return role
