"""C-MOVE as a scripted PACS does it: pynetdicom's own service, which is honest, is replaced. Used by `ScriptedSCP`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_MOVE
from pynetdicom.dsutils import decode
from pynetdicom.service_class import QueryRetrieveServiceClass

from tests.peers.server_process import listens

PENDING, SUCCESS, CANCELLED, SOME_FAILED, DESTINATION_UNKNOWN = 0xFF00, 0x0000, 0xFE00, 0xB000, 0xA801


@dataclass
class MoveBehaviour:
    """How it does C-MOVE. The defaults are an honest PACS."""

    status: int | None = None  # answers with this and sends nothing
    silent: bool = False  # neither answers nor sends
    nothing: bool = False  # answers success, with no sub-operations, and sends nothing
    early: bool = False  # answers success first, and sends afterwards
    whole_study: bool = False  # sends all of the study, whatever was asked for of it
    dropped: frozenset[str] = frozenset()  # counts these SOP Instance UIDs as sent, and does not send them
    message_ids: str = "true"  # Move Originator Message ID: true, none, or invented
    calling: str | None = None  # the AE title that it sends under; its own if None
    pending: bool = True  # says how far it is
    final: bool = True  # says when it is done
    counts: bool = True  # tells numbers in its last word
    more: int = 0  # speaks of so many instances more than it has
    cancels: bool = True  # stops when it is asked to
    destination: tuple[str, int] | None = None  # where it sends to instead of where the AE title stands for


Choose = Callable[[Dataset], list[Dataset]]
Before = Callable[[str], int]


class ScriptedMove:
    """What one ScriptedSCP does by C-MOVE; `destinations` are the AE titles that it knows."""

    def __init__(self, aet: str, choose: Choose, begin: Before) -> None:
        self.behaviour = MoveBehaviour()
        self.destinations: dict[str, tuple[str, int]] = {}
        self.statuses: list[int | None] = []  # of each sub-operation; None where no answer came
        self.by_request: dict[int, list[int | None]] = {}  # the same, by the C-MOVE's message id, oldest first
        self.cancelled: list[int] = []  # message ids of C-MOVEs that it stopped because it was asked to
        self.asked_to_stop: Callable[[], bool] = lambda: False  # whether a C-CANCEL of the last C-MOVE has come
        self._aet = aet
        self._choose = choose
        self._begin = begin
        self.later: list[threading.Thread] = []

    def serve(self, service: Any, request: Any, context: Any) -> None:
        self.asked_to_stop = lambda: int(request.MessageID) in service.dimse.cancel_req
        self._begin("C-MOVE")
        behaviour = self.behaviour
        if behaviour.silent:
            return
        where = behaviour.destination or self.destinations.get(str(request.MoveDestination).strip())
        if where is None or behaviour.status is not None:
            self._answer(service, request, context, behaviour.status or DESTINATION_UNKNOWN)
            return
        syntax = context.transfer_syntax[0]
        query = decode(request.Identifier, syntax.is_implicit_VR, syntax.is_little_endian)
        if behaviour.whole_study:
            whole = Dataset()
            whole.QueryRetrieveLevel, whole.StudyInstanceUID = "STUDY", query.StudyInstanceUID
            query = whole
        chosen = [] if behaviour.nothing else self._choose(query)
        if behaviour.early:
            self._answer(service, request, context, SUCCESS, {"completed": 0} if behaviour.counts else {})
            thread = threading.Thread(
                target=self._send_all, args=(chosen, where, request, lambda *_: None, lambda: False), daemon=True
            )
            self.later.append(thread)
            thread.start()
            return

        def tell(done: int, failed: int) -> None:
            if behaviour.pending:
                left = len(chosen) - done - failed
                numbers = {"remaining": left + behaviour.more, "completed": done, "failed": failed, "warning": 0}
                self._answer(service, request, context, PENDING, numbers)

        def stopped() -> bool:
            if behaviour.cancels and service.is_cancelled(request.MessageID):
                self.cancelled.append(int(request.MessageID))
            return int(request.MessageID) in self.cancelled

        done, failed = self._send_all(chosen, where, request, tell, stopped)
        if behaviour.final:
            numbers = {"completed": done + behaviour.more, "failed": failed, "warning": 0} if behaviour.counts else {}
            status = SUCCESS if not failed else SOME_FAILED if done else 0xA702
            status = CANCELLED if stopped() else status
            self._answer(service, request, context, status, numbers)

    def _send_all(
        self,
        chosen: list[Dataset],
        where: tuple[str, int],
        request: Any,
        tell: Callable[[int, int], None],
        stopped: Callable[[], bool],
    ) -> tuple[int, int]:
        """Numbers of instances that it calls sent, and failed."""
        if not chosen or not listens(where[1], where[0]):  # nobody is there
            return 0, len(chosen)
        behaviour = self.behaviour
        ae = AE(ae_title=behaviour.calling or self._aet)
        for sop_class, syntax in {(item.SOPClassUID, item.file_meta.TransferSyntaxUID) for item in chosen}:
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate(*where, ae_title=str(request.MoveDestination).strip(), max_pdu=0)
        done, failed, broken = 0, 0, False
        goes_on = _paused(association)
        for item in chosen:
            if stopped():
                break
            self._begin("C-MOVE sub-operation")
            if str(item.SOPInstanceUID) in behaviour.dropped:
                done += 1
                continue
            status = None if broken else self._send(association, item, request)
            broken = status is None
            self.statuses.append(status)
            self.by_request.setdefault(int(request.MessageID), []).append(status)
            done, failed = (done + 1, failed) if status == SUCCESS else (done, failed + 1)
            tell(done, failed)
        goes_on()
        if association.is_established:
            association.release()
        return done, failed

    def _send(self, association: Any, item: Dataset, request: Any) -> int | None:
        ids: dict[str, Any] = {"originator_aet": "ADIT", "originator_id": request.MessageID}
        if self.behaviour.message_ids == "none":
            ids = {}
        elif self.behaviour.message_ids == "invented":
            ids["originator_id"] = request.MessageID % 0xFFFF + 1
        try:
            answer = association.send_c_store(item, **ids)
        except (RuntimeError, ValueError):  # the association is gone
            return None
        return int(answer.Status) if "Status" in answer else None

    @staticmethod
    def _answer(
        service: Any, request: Any, context: Any, status: int, numbers: Mapping[str, int] | None = None
    ) -> None:
        answer = C_MOVE()
        answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        answer.Status = status
        for name, number in (numbers or {}).items():
            setattr(answer, f"NumberOf{name.capitalize()}Suboperations", number)
        service.dimse.send_msg(answer, context.context_id)


def _paused(association: Any) -> Callable[[], None]:
    """Keeps pynetdicom's own thread from the association until what is returned is called.

    It pauses that thread for each C-STORE, and does not wait for the thread to have gone on after the one before: on a
    busy machine the thread then takes the answer away from whoever waits for it, for ever.
    """
    checkpoint = association._reactor_checkpoint
    checkpoint.clear()
    checkpoint.set = lambda: None
    time.sleep(0.05)  # a turn that it had begun already, with nothing there to take

    def go_on() -> None:
        del checkpoint.set
        checkpoint.set()

    return go_on


SERVED: Final[WeakKeyDictionary[Any, ScriptedMove]] = WeakKeyDictionary()
"""By the AE of the ScriptedSCP."""

_honest = QueryRetrieveServiceClass._move_scp


def _move_scp(self: Any, request: Any, context: Any) -> None:
    scripted = SERVED.get(self.ae)
    if scripted is None:
        _honest(self, request, context)
    else:
        scripted.serve(self, request, context)


setattr(QueryRetrieveServiceClass, "_move_scp", _move_scp)  # noqa: B010
