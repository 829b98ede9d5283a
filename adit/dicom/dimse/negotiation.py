"""Presentation contexts and roles, asked for and agreed on: the A-ASSOCIATE PDUs (PS3.8 9.3.2, 9.3.3).

Called by `association`; what to propose is decided in `contexts`. The acceptor's side is the receiver's own
(`adit_receiver.negotiation`), made of the same items. Written and read directly, as command sets are:
a worker associates half a dozen times for a small study, and importing pynetdicom would take longer than all of
them together. A test holds every byte to pynetdicom's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from adit.dicom.dimse.peer import Peer
from adit.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
MAX_CONTEXTS: Final = 128  # presentation context ids are the odd numbers of one byte
_NO_REASON, _TRANSFER_SYNTAXES_REFUSED = 2, 4
_REQUEST, _ACCEPT = 0x01, 0x02
FIXED: Final = 74  # bytes of an A-ASSOCIATE PDU before its items, its own header included (PS3.8 table 9-11)


class Item(IntEnum):
    """The items and sub-items that we write or read (PS3.8 9.3.2, PS3.7 D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    CONTEXT_ASKED = 0x20
    CONTEXT_ANSWERED = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS = 0x52
    ROLE = 0x54
    IMPLEMENTATION_VERSION = 0x55


class MalformedError(ValueError):
    """The bytes are no A-ASSOCIATE PDU."""


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
    roles = sorted({proposal.abstract_syntax for proposal in proposals if proposal.as_scp})
    user_information = [
        item(Item.MAXIMUM_LENGTH, struct.pack(">I", 0)),
        item(Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode()),
        item(Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode()),
        *map(_scp_role, roles),
    ]
    body = b"".join(
        [
            struct.pack(">HH", 1, 0),  # the protocol's version
            peer.dimse.ae_title.encode("ascii").ljust(16),
            peer.dimse.calling_ae_title.encode("ascii").ljust(16),
            bytes(32),
            item(Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode()),
            *(_presentation_context(2 * index + 1, proposal) for index, proposal in enumerate(proposals)),
            item(Item.USER_INFORMATION, b"".join(user_information)),
        ]
    )
    return struct.pack(">BBI", _REQUEST, 0, len(body)) + body


def agreement(pdu: bytes, proposals: Sequence[Proposal]) -> Agreement:
    """Reads an A-ASSOCIATE-AC, whose unknown items are passed over. Raises MalformedError when it cannot be read."""
    if len(pdu) < FIXED or pdu[0] != _ACCEPT:
        raise MalformedError("it is too short, or no acceptance")
    answers: dict[int, tuple[int, str]] = {}
    max_pdu, implementation = 0, ""
    for kind, content in items(pdu[FIXED:]):
        if kind == Item.CONTEXT_ANSWERED:
            if len(content) < 4:
                raise MalformedError("a presentation context is cut short")
            chosen = next((text(syntax) for kind, syntax in items(content[4:]) if kind == Item.TRANSFER_SYNTAX), "")
            answers[content[0]] = content[2], chosen
        elif kind == Item.USER_INFORMATION:
            # What the peer makes of the SCP role is not asked for: some leave it out and send all the same.
            for sub_kind, value in items(content):
                if sub_kind == Item.MAXIMUM_LENGTH:
                    if len(value) != 4:
                        raise MalformedError("the maximum length has not four bytes")
                    max_pdu = int.from_bytes(value, "big")
                elif sub_kind == Item.IMPLEMENTATION_VERSION:
                    implementation = text(value)
    contexts = tuple(_context(2 * index + 1, answers, proposal) for index, proposal in enumerate(proposals))
    return Agreement(contexts, max_pdu, implementation)


def _context(context_id: int, answers: dict[int, tuple[int, str]], proposal: Proposal) -> Context:
    """A context that the peer says nothing about is refused."""
    result, chosen = answers.get(context_id, (_NO_REASON, proposal.transfer_syntaxes[0]))
    if result == 0 and chosen not in proposal.transfer_syntaxes:
        result = _TRANSFER_SYNTAXES_REFUSED  # accepted in a syntax that nobody proposed: of no use
    return Context(context_id, proposal.abstract_syntax, chosen, result)


def _presentation_context(context_id: int, proposal: Proposal) -> bytes:
    syntaxes = (item(Item.TRANSFER_SYNTAX, syntax.encode("ascii")) for syntax in proposal.transfer_syntaxes)
    abstract = item(Item.ABSTRACT_SYNTAX, proposal.abstract_syntax.encode("ascii"))
    return item(Item.CONTEXT_ASKED, struct.pack(">BBBB", context_id, 0, 0, 0) + abstract + b"".join(syntaxes))


def _scp_role(sop_class_uid: str) -> bytes:
    uid = sop_class_uid.encode("ascii")
    return item(Item.ROLE, struct.pack(">H", len(uid)) + uid + b"\x00\x01")  # not SCU, but SCP


def item(kind: int, content: bytes) -> bytes:
    """One item or sub-item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, 0, len(content)) + content


def items(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each. Raises MalformedError at one that is cut short."""
    position = 0
    while position < len(encoded):
        if len(encoded) - position < 4:
            raise MalformedError("an item's header is cut short")
        kind, length = encoded[position], int.from_bytes(encoded[position + 2 : position + 4], "big")
        position += 4
        if length > len(encoded) - position:
            raise MalformedError(f"an item of type 0x{kind:02X} is cut short")
        yield kind, encoded[position : position + length]
        position += length


def text(value: bytes) -> str:
    """A UID or a name as it stands in an item, whatever it is padded with."""
    return value.decode("ascii", "replace").strip(" \0")
