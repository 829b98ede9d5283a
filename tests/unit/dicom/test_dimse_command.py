"""Command sets are written and read as pydicom would, and garbage is refused."""

from dataclasses import fields
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom import dsutils

from adit.dicom.dimse.command import Command, CommandField, MalformedError, decode, encode

numbers = st.none() | st.integers(0, 0xFFFF)
uids = st.none() | st.from_regex(r"[1-9](\.[0-9]{1,10}){1,5}", fullmatch=True)
commands = st.builds(
    Command,
    field=st.sampled_from([int(each) for each in CommandField]),
    has_data_set=st.booleans(),
    sop_class_uid=uids,
    message_id=numbers,
    responded_message_id=numbers,
    priority=numbers,
    status=numbers,
    sop_instance_uid=uids,
    remaining=numbers,
    completed=numbers,
    failed=numbers,
    warning=numbers,
    move_destination=st.none() | st.from_regex(r"[A-Z_][A-Z0-9_]{0,15}", fullmatch=True),
    move_originator=st.none() | st.from_regex(r"[A-Z_][A-Z0-9_]{0,15}", fullmatch=True),
    move_originator_message_id=numbers,
)
KEYWORDS = {
    "field": "CommandField",
    "sop_class_uid": "AffectedSOPClassUID",
    "message_id": "MessageID",
    "responded_message_id": "MessageIDBeingRespondedTo",
    "priority": "Priority",
    "status": "Status",
    "sop_instance_uid": "AffectedSOPInstanceUID",
    "remaining": "NumberOfRemainingSuboperations",
    "completed": "NumberOfCompletedSuboperations",
    "failed": "NumberOfFailedSuboperations",
    "warning": "NumberOfWarningSuboperations",
    "move_destination": "MoveDestination",
    "move_originator": "MoveOriginatorApplicationEntityTitle",
    "move_originator_message_id": "MoveOriginatorMessageID",
}


@given(commands)
def test_what_is_encoded_is_read_back(command: Command) -> None:
    assert decode(encode(command)) == command


@given(commands)
def test_pydicom_reads_the_same(command: Command) -> None:
    encoded = encode(command)
    read = dsutils.decode(BytesIO(encoded), True, True)
    assert {KEYWORDS[each.name] for each in fields(Command) if each.name != "has_data_set"} == set(KEYWORDS.values())
    for name, keyword in KEYWORDS.items():
        assert read.get(keyword) == getattr(command, name)
    assert (read.CommandDataSetType != 0x0101) == command.has_data_set
    assert read.CommandGroupLength == len(encoded) - 12


def test_what_pydicom_writes_is_read_with_its_padding_and_unknown_elements() -> None:
    written = Dataset()
    written.CommandField = 0x8001
    written.CommandDataSetType = 0x0101
    written.AffectedSOPInstanceUID = "1.2.3"  # odd length: padded with NUL
    written.ErrorComment = "whatever"
    written.Status = 0xA700
    encoded = dsutils.encode(written, True, True)
    assert encoded is not None
    assert decode(encoded) == Command(field=0x8001, status=0xA700, sop_instance_uid="1.2.3")


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0\0\0\1",
        encode(Command(field=1))[:-1],
        b"\x08\0\x18\0\x02\0\0\0ab",
        b"\0\0\0\1\xff\xff\xff\xff",
    ],
    ids=["nothing", "half a header", "cut short", "another group", "a length beyond the end"],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(garbage)
