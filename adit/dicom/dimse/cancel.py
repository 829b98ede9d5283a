"""C-CANCEL as SCU: the peer is asked to stop what we gave up (PS3.7 9.3.2.3, 9.3.3.3, 9.3.4.3).

Called by `find`, `get`, `move` and `direct_move`. A peer that is only hung up on may go on for long, and send to others
what nobody waits for any more.
"""

from __future__ import annotations

from typing import Final

from adit.dicom.dimse.association import Association
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.negotiation import Context
from adit.dicom.dimse.status import OUT_OF_RESOURCES, PENDING
from adit.model.outcome import TransferFault

_PATIENCE: Final = 3.0
"""Seconds for the peer to end: it does so between two instances. Less than an interrupted association is spared."""


def call_off(
    association: Association, context: Context, message_id: int, owed: tuple[Context, Command] | None = None
) -> bool:
    """Ends the association; whether the peer said before that it stopped. Nothing that goes wrong is a fault now.

    `owed` is the C-STORE-RQ amid which, or after which, it was given up: the peer hears of the C-CANCEL first, which it
    may look for between two of its fragments, and then that the instance was not taken.
    """
    try:
        with association.within(_PATIENCE):
            association.send(context, Command(field=CommandField.C_CANCEL_RQ, responded_message_id=message_id))
            if owed is not None:
                association.skip_data_set()
                _refuse(association, *owed)
            _await_last_word(association)
    except TransferFault:
        association.abort()
        return False
    association.release()
    return True


def _await_last_word(association: Association) -> None:
    """Reads past what was under way, and takes none of it."""
    while True:
        context, command = association.receive()
        if command.has_data_set:
            association.receive_data_set(len)
        if command.field == CommandField.C_STORE_RQ:
            _refuse(association, context, command)
        elif command.status not in PENDING:
            return


def _refuse(association: Association, context: Context, request: Command) -> None:
    refusal = Command(
        field=CommandField.C_STORE_RSP,
        sop_class_uid=request.sop_class_uid,
        responded_message_id=request.message_id,
        status=OUT_OF_RESOURCES,
        sop_instance_uid=request.sop_instance_uid,
    )
    association.send(context, refusal)
