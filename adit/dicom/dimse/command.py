"""DIMSE command sets: the small data set in front of each message (PS3.7 section 6.3, Annex E).

Called by `association` here, and by the receiver. Written and read directly, because a command set is a dozen fixed
elements in Implicit VR Little Endian and there are two of them per instance.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_NO_DATA_SET: Final = 0x0101
_DATA_SET: Final = 0x0001


class CommandField(IntEnum):
    """(0000,0100), PS3.7 E.1-1; a response's field is its request's with the top bit set."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    C_CANCEL_RQ = 0x0FFF


class MalformedError(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command set; an absent element is None. `field` stays a number: peers send what they like."""

    field: int
    has_data_set: bool = False
    sop_class_uid: str | None = None
    message_id: int | None = None
    responded_message_id: int | None = None
    priority: int | None = None
    status: int | None = None
    sop_instance_uid: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    move_destination: str | None = None
    move_originator: str | None = None  # AE title; told to nobody's correlation, but peers may want it
    move_originator_message_id: int | None = None


_NUMBERS: Final = {
    "field": 0x0100,
    "message_id": 0x0110,
    "responded_message_id": 0x0120,
    "priority": 0x0700,
    "status": 0x0900,
    "remaining": 0x1020,
    "completed": 0x1021,
    "failed": 0x1022,
    "warning": 0x1023,
    "move_originator_message_id": 0x1031,
}
_TEXTS: Final = {
    "sop_class_uid": 0x0002,
    "move_destination": 0x0600,
    "sop_instance_uid": 0x1000,
    "move_originator": 0x1030,
}
_AE_TITLES: Final = frozenset({"move_destination", "move_originator"})
_DATA_SET_TYPE: Final = 0x0800
_NUMBER_OF: Final = {element: name for name, element in _NUMBERS.items()}
_TEXT_OF: Final = {element: name for name, element in _TEXTS.items()}
_ELEMENTS: Final = sorted(
    [(element, name) for name, element in {**_NUMBERS, **_TEXTS}.items()] + [(_DATA_SET_TYPE, "has_data_set")]
)


def encode(command: Command) -> bytes:
    """The command set with its group length, elements in ascending order."""
    body = b"".join(
        _element(element, name, getattr(command, name))
        for element, name in _ELEMENTS
        if getattr(command, name) is not None
    )
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _element(element: int, name: str, value: int | str | bool) -> bytes:
    if name == "has_data_set":
        return struct.pack("<HHIH", 0, element, 2, _DATA_SET if value else _NO_DATA_SET)
    if isinstance(value, str):
        text = value.encode("ascii", "replace")
        if len(text) % 2:
            text += b" " if name in _AE_TITLES else b"\0"
        return struct.pack("<HHI", 0, element, len(text)) + text
    return struct.pack("<HHIH", 0, element, 2, value)


def decode(encoded: bytes) -> Command:
    """Reads a command set; elements that we have no use for are skipped.

    Raises MalformedError when it is cut short, leaves group 0000, or has no Command Field.
    """
    values: dict[str, int | str | bool] = {}
    position = 0
    while position < len(encoded):
        if len(encoded) - position < 8:
            raise MalformedError("an element's header is cut short")
        group, element, length = struct.unpack_from("<HHI", encoded, position)
        position += 8
        if group != 0 or length > len(encoded) - position:
            raise MalformedError(f"element ({group:04X},{element:04X}) of length {length} does not fit")
        value = encoded[position : position + length]
        position += length
        if element in _TEXT_OF:
            values[_TEXT_OF[element]] = value.decode("ascii", "replace").strip(" \0")
        elif length == 2 and element == _DATA_SET_TYPE:
            values["has_data_set"] = int.from_bytes(value, "little") != _NO_DATA_SET
        elif length == 2 and element in _NUMBER_OF:
            values[_NUMBER_OF[element]] = int.from_bytes(value, "little")
    if "field" not in values:
        raise MalformedError("there is no Command Field (0000,0100)")
    return Command(**values)  # type: ignore[arg-type]
