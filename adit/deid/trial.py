"""Stamps a trial's id and name on an instance (PS3.3 C.7.1.3), every other byte untouched.

Called by `adit.transfer` for each instance of a job that has a trial. Only the header up to group 0012
is looked at; pixels, compressed or not, pass by unread.
"""

from __future__ import annotations

import struct
from typing import Final

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from adit.deid.character_set import encode
from adit.deid.element_walk import Element, Encoding, MalformedError, elements
from adit.deid.splice import Edit, FileCursor, InflatingCursor, Original, SplicedInstance, spliced
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.trial import Trial

PROTOCOL_ID: Final = 0x00120020
PROTOCOL_NAME: Final = 0x00120021
_CHARSET: Final = 0x00080005
_GROUP_LENGTH: Final = 0x00120000
_NAMES: Final = {PROTOCOL_ID: "protocolID", PROTOCOL_NAME: "protocolName"}


def stamp(instance: Original, trial: Trial) -> SplicedInstance:
    """The instance with ClinicalTrialProtocolID and -Name as the trial has them; what it leaves out stays.

    Needs no memory for it, whatever the size; the given instance must stay open meanwhile and stays
    its owner's. Raises TransferFault naming the instance: INSTANCE_UNREADABLE when its header is
    malformed, INSTANCE_REFUSED when its character set cannot write the trial's words.
    """
    deflated = instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    try:
        encoding, header = _header(instance, deflated=deflated)
        values = _values(instance, trial, _charset(header))
        return spliced(instance, _edits(encoding, header, values), deflated=deflated)
    except MalformedError as error:
        raise _fault(
            instance,
            FaultCode.INSTANCE_UNREADABLE,
            f"The trial cannot be written into an instance, because {error}.",
            "Have the instance repaired at the source, or transfer it without a trial.",
        ) from error
    except OSError as error:
        raise _fault(
            instance,
            FaultCode.IO_FAILED,
            f"An instance that was received could not be read again: {error.strerror or type(error).__name__}.",
            "Check the worker's disk.",
        ) from error


def _header(instance: Original, *, deflated: bool) -> tuple[Encoding, list[Element]]:
    """The elements up to the trial's two, and the first one behind them or the end of the data set."""
    with instance.open() as reader:
        cursor = InflatingCursor(reader) if deflated else FileCursor(reader, instance.size)
        encoding = _encoding(instance)
        wanted = frozenset({_CHARSET, _GROUP_LENGTH})
        header = list(elements(cursor, encoding, wanted, PROTOCOL_NAME))
        if not header or header[-1].tag <= PROTOCOL_NAME:
            header.append(Element(0xFFFFFFFF, cursor.position, cursor.position, 0))
        return encoding, header


def _encoding(instance: Original) -> Encoding:
    """By the transfer syntax."""
    syntax = instance.transfer_syntax_uid
    return Encoding(implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian)


def _charset(header: list[Element]) -> list[str]:
    """The defined terms of SpecificCharacterSet; one empty term stands for the default repertoire."""
    value = next((element.value for element in header if element.tag == _CHARSET), None) or b""
    return [term.strip() for term in value.decode("ascii", errors="replace").strip("\0 ").split("\\")]


def _values(instance: Original, trial: Trial, charset: list[str]) -> dict[int, bytes]:
    """What each element's value becomes, padded to an even length."""
    given = {PROTOCOL_ID: trial.protocol_id, PROTOCOL_NAME: trial.protocol_name}
    values = {}
    for tag, text in given.items():
        if text is None:
            continue
        encoded = encode(text, charset)
        if encoded is None:
            raise _fault(
                instance,
                FaultCode.INSTANCE_REFUSED,
                f"The trial's {_NAMES[tag]} cannot be written in an instance's character set "
                f"({' '.join(filter(None, charset)) or 'the default, ASCII'}).",
                "Use letters of that character set, best of all plain ASCII, for the trial.",
            )
        values[tag] = encoded + b" " * (len(encoded) % 2)
    return values


def _edits(encoding: Encoding, header: list[Element], values: dict[int, bytes]) -> list[Edit]:
    edits = []
    for tag, value in values.items():
        at = next(index for index, element in enumerate(header) if element.tag >= tag)
        start = header[at].start
        end = header[at + 1].start if header[at].tag == tag else start
        edits.append(Edit(start, end, _element(encoding, tag, value)))
    growth = sum(len(edit.data) - (edit.end - edit.start) for edit in edits)
    for element in header:
        if element.tag == _GROUP_LENGTH and element.value is not None and element.length == 4:
            (length,) = struct.unpack(f"{encoding.order}I", element.value)
            patched = struct.pack(f"{encoding.order}I", length + growth)
            edits.insert(0, Edit(element.value_start, element.value_start + 4, patched))
    return edits


def _element(encoding: Encoding, tag: int, value: bytes) -> bytes:
    """One LO element."""
    group, number = tag >> 16, tag & 0xFFFF
    if encoding.implicit:
        return struct.pack(f"{encoding.order}HHI", group, number, len(value)) + value
    return struct.pack(f"{encoding.order}HH2sH", group, number, b"LO", len(value)) + value


def _fault(instance: Original, code: FaultCode, message: str, cure: str) -> TransferFault:
    return TransferFault(Fault(code=code, message=message, cure=cure, sop_instance_uid=instance.sop_instance_uid))
