"""C-FIND as SCU: one query on one association, answers filtered, distinct, and complete or a fault.

Called by `node`. The information model is chosen from what the peer offers, as `plan` says; the
peer's own filtering is never trusted, and a query that ends badly never looks like a short answer (L16).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Final

from adit.dicom.dimse import identifier
from adit.dicom.dimse.association import Association
from adit.dicom.dimse.cancel import call_off
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import PENDING, SUCCESS, find_fault
from adit.dicom.levels import UNIQUE_KEY, distinct, is_single, lacking
from adit.dicom.node import Answer, Level, Query
from adit.model.dicom_node import Service
from adit.model.outcome import FaultCode, TransferFault

STUDY_ROOT: Final = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT: Final = "1.2.840.10008.5.1.4.1.2.1.1"


def plan(peer: Peer, query: Query) -> tuple[str, Level]:
    """The information model and the level to ask at.

    Study root, except at PATIENT level where patient root is offered; patient root alone needs a
    PatientID without wildcards below PATIENT. Without patient root, patients are found through their
    studies. Raises SERVICE_NOT_OFFERED when the node, or the query's keys, do not allow it.
    """
    if keyword := lacking(query):
        raise peer.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"A query at {query.level} level needs one {keyword}",
            f"Give {keyword} without wildcards.",
        )
    services = peer.dimse.services
    if query.level is Level.PATIENT and Service.PATIENT_ROOT_FIND in services:
        return PATIENT_ROOT, Level.PATIENT
    if Service.STUDY_ROOT_FIND in services:
        return STUDY_ROOT, Level.STUDY if query.level is Level.PATIENT else query.level
    if Service.PATIENT_ROOT_FIND not in services:
        raise peer.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            "The node offers no C-FIND",
            "Add StudyRootFind or PatientRootFind to the node's services if it does.",
        )
    if not is_single(query.keys.get("PatientID")):
        raise peer.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"The node offers C-FIND by patient root only, and a query at {query.level} level then needs one PatientID",
            "Give PatientID without wildcards.",
        )
    return PATIENT_ROOT, query.level


def find(association: Association, peer: Peer, query: Query, model: str, level: Level) -> Iterator[Answer]:
    """Answers one by one as they come. Raises TransferFault when the final status isn't Success.

    When `query.limit` is reached the rest is cancelled. Closed early by its caller, it leaves the
    association in the middle of the answers: abort it.
    """
    context = next((each for each in association.accepted.values() if each.abstract_syntax == model), None)
    if context is None:
        raise peer.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            f"The peer does not accept C-FIND by {'study' if model == STUDY_ROOT else 'patient'} root",
            "See `adit node probe` for what it offers, and correct the node's services.",
        )
    returning = (*query.returning, UNIQUE_KEY[query.level], UNIQUE_KEY[level])
    asked = {"QueryRetrieveLevel": level.value, **query.keys}
    message_id = association.next_message_id()
    association.send(
        context,
        Command(
            field=CommandField.C_FIND_RQ, has_data_set=True, sop_class_uid=model, message_id=message_id, priority=0
        ),
        identifier.encode(asked, context.transfer_syntax, returning),
    )

    def nameless(key: str) -> TransferFault:
        return peer.fault(
            FaultCode.QUERY_FAILED,
            f"An answer at {query.level} level has no {key}",
            "The peer breaks PS3.4 C.4.1; report it to its vendor.",
        )

    found = 0
    with closing(_answers(association, peer)) as answers:
        for answer in distinct(answers, query, peer, nameless):
            found += 1
            yield answer
    if query.limit is not None and found >= query.limit:
        call_off(association, context, message_id)


def _answers(association: Association, peer: Peer) -> Generator[Answer, None, None]:
    while True:
        context, response = association.receive()
        encoded = association.receive_identifier() if response.has_data_set else b""
        if response.field != CommandField.C_FIND_RSP or response.status is None:
            raise peer.fault(
                FaultCode.QUERY_FAILED,
                "The peer answered the query with something that is no C-FIND response",
                "The peer breaks PS3.7 9.1.2; report it to its vendor.",
            )
        if response.status == SUCCESS:
            return
        if response.status not in PENDING:
            raise TransferFault(find_fault(peer, response.status))
        yield _decoded(peer, encoded, context.transfer_syntax)


def _decoded(peer: Peer, encoded: bytes, transfer_syntax: str) -> Answer:
    try:
        return identifier.decode(encoded, transfer_syntax)
    except Exception as error:
        raise peer.fault(
            FaultCode.QUERY_FAILED,
            f"An answer to the query cannot be read ({type(error).__name__})",
            "The peer sent a malformed data set; report it to its vendor.",
        ) from error
