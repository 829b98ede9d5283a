"""One C-STORE's data set while it comes: first its head is held, until it shows whose it is; then all goes on at once.

Made by `association` for each request. Memory does not grow with the object. What cannot be taken is read to its end
all the same, because a sender hears our answer only then.
"""

from __future__ import annotations

import io
from typing import Final

from adit.dicom.dimse.command import Command
from adit.dicom.dimse.contexts import DEFLATED_LE
from adit.dicom.dimse.header import Identity, UnreadableError, identity
from adit.dicom.dimse.status import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, OUT_OF_RESOURCES, SUCCESS
from adit.model.identifiers import UID_AS_SENT
from adit_receiver import counts
from adit_receiver.counts import Fate
from adit_receiver.outlet import Arrival, Outlet, Outlets, Refused

_FIRST_LOOK: Final = 16 * 1024  # bytes in which the UIDs of nearly every data set stand
_LAST_LOOK: Final = 4 * 2**20  # bytes of a data set before we give up


class Incoming:
    """`write` raises nothing: what goes wrong with the object stands in the status that `finish` returns."""

    def __init__(
        self, command: Command, sop_class_uid: str, transfer_syntax_uid: str, outlets: Outlets, longest: int
    ) -> None:
        self._command = command
        self._sop_class_uid = command.sop_class_uid or sop_class_uid
        self._transfer_syntax_uid = transfer_syntax_uid
        self._outlets = outlets
        self._longest = longest
        self._size = 0
        self._head = bytearray()
        self._next_look = _LAST_LOOK if transfer_syntax_uid == DEFLATED_LE else _FIRST_LOOK
        self._outlet: Outlet | None = None
        self._refused: Refused | None = None

    def write(self, piece: memoryview) -> None:
        self._size += len(piece)
        if self._refused is not None:
            return
        try:
            if self._size > self._longest:
                raise Refused(Fate.TOO_BIG, OUT_OF_RESOURCES)
            outlet = self._outlet
            if outlet is None and not self._head and len(piece) >= self._next_look:
                outlet = self._opened(piece[: self._next_look])  # at once, as nearly always
            if outlet is not None:
                outlet.write(piece)
                return
            self._head += piece
            if len(self._head) >= self._next_look:
                self._look(last=False)
        except Refused as refused:
            self._give_up(refused)

    def finish(self) -> int:
        """The status for its sender: success only when somebody else has the whole object."""
        if self._refused is None:
            try:
                if self._outlet is None:
                    self._look(last=True)
                assert self._outlet is not None  # noqa: S101 - else the last look was refused
                self._outlet.finish()
            except Refused as refused:
                self._give_up(refused)
        counts.BYTES.inc(self._size)
        if self._refused is not None:
            counts.OBJECTS.labels(self._refused.fate).inc()
            return self._refused.status
        counts.OBJECTS.labels(Fate.TAKEN).inc()
        return SUCCESS

    def abandon(self) -> None:
        """The association broke before its end."""
        if self._outlet is not None:
            self._outlet.abandon()

    @property
    def fate(self) -> Fate:
        """Known after `finish`."""
        return Fate.TAKEN if self._refused is None else self._refused.fate

    def _give_up(self, refused: Refused) -> None:
        self._refused = refused
        self._head = bytearray()
        if self._outlet is not None:
            self._outlet.abandon()

    def _look(self, *, last: bool) -> None:
        outlet = self._opened(self._head, last=last)
        if outlet is not None:
            head, self._head = self._head, bytearray()
            with memoryview(head) as view:
                outlet.write(view)

    def _opened(self, head: bytearray | memoryview, *, last: bool = False) -> Outlet | None:
        """The way out, if the head shows whose it is. Raises Refused, when it is the last look at the latest."""
        found = self._identity(head, last=last or len(head) >= _LAST_LOOK)
        if found is None:
            self._next_look = min(4 * len(head), _LAST_LOOK)
            return None
        if found.sop_instance_uid != self._command.sop_instance_uid:
            raise Refused(Fate.UNREADABLE, DATA_SET_MISMATCH)
        uids = (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid, self._sop_class_uid)
        if not all(map(UID_AS_SENT.fullmatch, uids)):
            raise Refused(Fate.UNREADABLE, CANNOT_UNDERSTAND)
        self._outlet = self._outlets.open(
            Arrival(
                found.study_instance_uid,
                found.series_instance_uid,
                self._sop_class_uid,
                found.sop_instance_uid,
                self._transfer_syntax_uid,
                found.sop_class_uid if UID_AS_SENT.fullmatch(found.sop_class_uid) else "",
                self._command.move_originator_message_id or None,  # 0 is no message id: some send it for none
            )
        )
        return self._outlet

    def _identity(self, head: bytearray | memoryview, *, last: bool) -> Identity | None:
        """None while more must come first."""
        try:
            found = identity(io.BytesIO(head), self._transfer_syntax_uid)
        except UnreadableError:
            if last:
                raise Refused(Fate.UNREADABLE, CANNOT_UNDERSTAND) from None
            return None
        if not last and bytes(head[-64:]).endswith(found.series_instance_uid.encode("ascii", "replace")):
            return None  # perhaps cut off in the middle
        return found
