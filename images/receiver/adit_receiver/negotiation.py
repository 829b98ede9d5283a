"""The acceptor's side of an association's beginning: what is asked for, and what we say to it (PS3.8 9.3.2 to 9.3.4).

Called by `association`; whom we let in is decided in `admission`. Made of the same items as the requestor's side in
`adit.dicom.dimse.negotiation`. A test holds it to pynetdicom.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from adit.dicom.dimse.contexts import EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.dimse.negotiation import APPLICATION_CONTEXT, FIXED, Item, MalformedError, item, items, text
from adit.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_REQUEST, _ACCEPT, _REJECT = 0x01, 0x02, 0x03
_HEADER: Final = 6  # bytes of a PDU before what its length counts
_ACCEPTED, _ABSTRACT_SYNTAX_REFUSED, _TRANSFER_SYNTAXES_REFUSED = 0, 3, 4
VERIFICATION: Final = "1.2.840.10008.1.1"
_STANDARD: Final = "1.2.840.10008."
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."  # and an instance's kind: nearly all storage classes of PS3.4 annex B
_OTHER_STORAGE: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.34.7",  # of radiotherapy
        "1.2.840.10008.5.1.4.34.10",
        "1.2.840.10008.5.1.4.34.1",  # retired, as the others below: old archives have them in their studies
        "1.2.840.10008.5.1.1.27",  # a stored print
        "1.2.840.10008.5.1.1.29",  # hard copies
        "1.2.840.10008.5.1.1.30",
    }
)


class Rejection(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

    APPLICATION_CONTEXT = (1, 1, 2)
    CALLING_AE_TITLE = (1, 1, 3)
    CALLED_AE_TITLE = (1, 1, 7)
    PROTOCOL_VERSION = (1, 2, 2)
    CONGESTION = (2, 3, 1)
    LIMIT = (2, 3, 2)

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Asked:
    """One presentation context as it was proposed."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """An A-ASSOCIATE-RQ."""

    called: str
    calling: str
    raw_titles: bytes  # both, reserved bytes included: an acceptance repeats them as they are (PS3.8 table 9-17)
    version: int
    application_context: str
    contexts: tuple[Asked, ...]
    max_pdu: int  # what the requestor takes; 0 is unlimited


@dataclass(frozen=True, slots=True)
class Answered:
    """What we make of a proposed context; `transfer_syntax` is of no meaning unless it is accepted."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int

    @property
    def accepted(self) -> bool:
        return self.result == _ACCEPTED


def read(body: bytes) -> Request:
    """`body` is what follows the PDU's header. Raises MalformedError."""
    fixed = FIXED - _HEADER
    if len(body) < fixed:
        raise MalformedError("it is too short")
    application, max_pdu, contexts = "", 0, []
    for kind, content in items(body[fixed:]):
        if kind == Item.APPLICATION_CONTEXT:
            application = text(content)
        elif kind == Item.CONTEXT_ASKED:
            contexts.append(_asked(content))
        elif kind == Item.USER_INFORMATION:
            for sub_kind, value in items(content):
                if sub_kind == Item.MAXIMUM_LENGTH and len(value) == 4:
                    max_pdu = int.from_bytes(value, "big")
    return Request(
        called=text(body[4:20]),
        calling=text(body[20:36]),
        raw_titles=body[4:68],
        version=int.from_bytes(body[:2], "big"),
        application_context=application,
        contexts=tuple(contexts),
        max_pdu=max_pdu,
    )


def answers(contexts: Sequence[Asked]) -> tuple[Answered, ...]:
    """Verification and every storage class, private ones too, in whatever transfer syntax the sender likes best."""
    return tuple(_answer(each) for each in contexts)


def acceptance(request: Request, answered: Sequence[Answered], max_pdu: int) -> bytes:
    """An encoded A-ASSOCIATE-AC; `max_pdu` is what we take. Roles stay what they are if nobody speaks of them."""
    user_information = [
        item(Item.MAXIMUM_LENGTH, struct.pack(">I", max_pdu)),
        item(Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode()),
        item(Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode()),
    ]
    body = b"".join(
        [
            struct.pack(">HH", 1, 0),  # the protocol's version
            request.raw_titles,
            item(Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode()),
            *map(_context_answered, answered),
            item(Item.USER_INFORMATION, b"".join(user_information)),
        ]
    )
    return struct.pack(">BBI", _ACCEPT, 0, len(body)) + body


def rejection(why: Rejection) -> bytes:
    """An encoded A-ASSOCIATE-RJ."""
    return struct.pack(">BBIBBBB", _REJECT, 0, 4, 0, *why.value)


def _asked(content: bytes) -> Asked:
    if len(content) < 4 or not content[0] % 2:
        raise MalformedError("a presentation context has no odd number")
    abstract, syntaxes = "", []
    for kind, value in items(content[4:]):
        if kind == Item.ABSTRACT_SYNTAX:
            abstract = text(value)
        elif kind == Item.TRANSFER_SYNTAX:
            syntaxes.append(text(value))
    return Asked(content[0], abstract, tuple(syntaxes))


def _answer(asked: Asked) -> Answered:
    if not takes(asked.abstract_syntax):
        return Answered(asked.id, asked.abstract_syntax, "", _ABSTRACT_SYNTAX_REFUSED)
    if not asked.transfer_syntaxes:
        return Answered(asked.id, asked.abstract_syntax, "", _TRANSFER_SYNTAXES_REFUSED)
    return Answered(asked.id, asked.abstract_syntax, _best(asked.transfer_syntaxes), _ACCEPTED)


def takes(abstract_syntax: str) -> bool:
    """Whether it is a class that we take; one that the standard does not name is some vendor's storage class."""
    if not abstract_syntax.startswith(_STANDARD):
        return bool(abstract_syntax)
    return abstract_syntax == VERIFICATION or abstract_syntax.startswith(_STORAGE) or abstract_syntax in _OTHER_STORAGE


def _best(syntaxes: Sequence[str]) -> str:
    """The sender's first, which is most likely how it holds the object: any other might make it compress or decompress.

    Except that Implicit VR would lose the representation of private elements where Explicit VR is offered as well.
    """
    first = syntaxes[0]
    return EXPLICIT_LE if first == IMPLICIT_LE and EXPLICIT_LE in syntaxes else first


def _context_answered(answered: Answered) -> bytes:
    syntax = item(Item.TRANSFER_SYNTAX, answered.transfer_syntax.encode("ascii", "replace"))
    return item(Item.CONTEXT_ANSWERED, struct.pack(">BBBB", answered.id, 0, answered.result, 0) + syntax)
