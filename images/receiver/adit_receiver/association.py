"""One association as its acceptor sees it: negotiated, then C-ECHO and C-STORE until it is released or broken off.

Run by `listener` in a thread of its own. Data sets go past in pieces of one reused buffer, whatever length the peer
announces for its PDUs. Whatever a peer does against the protocol ends its own association, with A-ABORT where it can
still hear that (PS3.8 section 9).
"""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from adit.dicom.byte_stream import ByteStream, StreamEnded
from adit.dicom.dimse import command as command_set
from adit.dicom.dimse import negotiation as items
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.status import CANNOT_UNDERSTAND, SUCCESS
from adit_receiver import negotiation
from adit_receiver.admission import refusal
from adit_receiver.incoming import Incoming
from adit_receiver.negotiation import VERIFICATION, Answered, Rejection, Request
from adit_receiver.outlet import Outlets
from adit_receiver.settings import ReceiverSettings

_REQUEST, _DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x01, 0x04, 0x05, 0x06, 0x07
_LONGEST_REQUEST: Final = 256 * 1024  # of 128 contexts with 30 syntaxes each, half of that
_LONGEST_COMMAND: Final = 16 * 1024
_LONGEST_PDU: Final = 16 * 2**20  # some peers exceed what they were told a little; nothing of it stays in memory
_PROGRESS: Final = 64 * 1024
_TICK: Final = 0.5  # seconds in which a drain is noticed between messages
_DRAINED: Final = 5.0  # seconds between messages after which a draining receiver ends an association
_LAST_WORDS: Final = 1.0  # seconds for a peer to take note of a rejection or an abort
_PROVIDER: Final = 2
_UNEXPECTED, _INVALID = 2, 6  # reasons of an A-ABORT (PS3.8 table 9-26)


class End(StrEnum):
    """How a connection ended."""

    RELEASED = "released"
    ABORTED = "aborted"  # by the peer
    CLOSED = "closed"  # without a word
    REJECTED = "rejected"
    VIOLATION = "violation"  # the peer broke the protocol: aborted by us
    TOO_SLOW = "too-slow"  # aborted by us
    DRAINED = "drained"  # aborted by us, as we are about to end
    NO_DICOM = "no-dicom"  # what came first was no association request


class _Violation(Exception):  # noqa: N818 - what the peer did
    def __init__(self, reason: int) -> None:
        super().__init__()
        self.reason = reason


class Association:
    """`admit` is asked for a place once the request is known, and may say why there is none."""

    def __init__(
        self,
        stream: ByteStream,
        settings: ReceiverSettings,
        outlets: Outlets,
        admit: Callable[[], Rejection | None],
        draining: threading.Event,
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._outlets = outlets
        self._admit = admit
        self._draining = draining
        self._in_pdu = 0
        self._contexts: dict[int, Answered] = {}
        self._max_pdu = 0  # what the peer takes; 0 is unlimited
        self.fates: Counter[str] = Counter()
        self.calling: str | None = None
        self.called: str | None = None
        self.rejected: Rejection | None = None
        self.silent_since: float | None = None  # between messages: since when; read by other threads

    def run(self) -> End:
        """To its end. Raises nothing that a peer can cause."""
        try:
            return self._negotiate() or self._serve()
        except _Violation as violation:
            self._abort(_PROVIDER, violation.reason)
            return End.VIOLATION if self._contexts else End.NO_DICOM
        except StreamEnded:
            return End.CLOSED
        except TimeoutError:
            self._abort(0, 0)
            return End.TOO_SLOW
        except (OSError, ValueError):  # ValueError: a socket closed under us
            return End.CLOSED
        finally:
            self._outlets.close()

    # --- negotiation ---

    def _negotiate(self) -> End | None:
        """None when the association is established."""
        self._stream.set_timeout(self._settings.request_seconds)
        kind, length = self._header()
        if kind != _REQUEST or length > _LONGEST_REQUEST:
            raise _Violation(_UNEXPECTED)
        try:
            request = negotiation.read(self._stream.take(length))
        except items.MalformedError:
            raise _Violation(_INVALID) from None
        self.calling, self.called = request.calling, request.called
        why = refusal(request, self._settings) or self._admit()
        if why is not None:
            self.rejected = why
            self._stream.send(negotiation.rejection(why))
            self._stream.finish(_LAST_WORDS)
            return End.REJECTED
        self._accept(request)
        return None

    def _accept(self, request: Request) -> None:
        answered = negotiation.answers(request.contexts)
        self._contexts = {each.id: each for each in answered if each.accepted}
        self._max_pdu = request.max_pdu
        self._stream.enlarge()
        self._stream.send(negotiation.acceptance(request, answered, self._settings.pdu_bytes))

    # --- messages ---

    def _serve(self) -> End:
        while True:
            if self._in_pdu:  # two messages in one PDU
                self._message()
                continue
            if not self._await_message():
                self._abort(0, 0)
                return End.DRAINED if self._draining.is_set() else End.TOO_SLOW
            self._stream.set_timeout(self._settings.message_seconds)
            kind, length = self._header()
            if kind == _RELEASE_RQ and length == 4:
                self._stream.take(length)
                self._stream.send(struct.pack(">BBII", _RELEASE_RP, 0, 4, 0))
                self._stream.finish(_LAST_WORDS)
                return End.RELEASED
            if kind == _ABORT and length == 4:
                return End.ABORTED
            self._enter(kind, length)
            self._message()

    def _await_message(self) -> bool:
        """False when nothing came for too long."""
        self.silent_since = since = time.monotonic()
        while not self._stream.wait(_TICK):
            longest = _DRAINED if self._draining.is_set() else self._settings.idle_seconds
            if time.monotonic() - since >= longest:
                return False
        self.silent_since = None
        return True

    def _message(self) -> None:
        context, command = self._command()
        if command.field == CommandField.C_ECHO_RQ and context.abstract_syntax == VERIFICATION:
            if command.has_data_set:
                raise _Violation(_UNEXPECTED)
            self._answer(context, command, CommandField.C_ECHO_RSP, SUCCESS)
        elif command.field == CommandField.C_STORE_RQ and context.abstract_syntax != VERIFICATION:
            status = self._store(context, command) if command.has_data_set else CANNOT_UNDERSTAND
            self._answer(context, command, CommandField.C_STORE_RSP, status)
        elif command.field != CommandField.C_CANCEL_RQ:  # there is nothing that it could cancel
            raise _Violation(_UNEXPECTED)

    def _command(self) -> tuple[Answered, Command]:
        encoded, is_last, context_id = bytearray(), False, 0
        while not is_last:
            context_id, length, is_command, is_last = self._fragment()
            if not is_command or len(encoded) + length > _LONGEST_COMMAND:
                raise _Violation(_INVALID)
            self._pour(length, encoded.extend)
        context = self._contexts.get(context_id)
        if context is None:
            raise _Violation(_INVALID)
        try:
            return context, command_set.decode(bytes(encoded))
        except command_set.MalformedError:
            raise _Violation(_INVALID) from None

    def _store(self, context: Answered, command: Command) -> int:
        incoming = Incoming(
            command, context.abstract_syntax, context.transfer_syntax, self._outlets, self._settings.object_bytes
        )
        self._stream.set_timeout(self._settings.message_seconds, every=_PROGRESS)
        try:
            is_last = False
            while not is_last:
                context_id, length, is_command, is_last = self._fragment()
                if is_command or context_id != context.id:
                    raise _Violation(_INVALID)
                self._pour(length, incoming.write)
            status = incoming.finish()
        except BaseException:
            incoming.abandon()
            raise
        self.fates[incoming.fate] += 1
        return status

    def _answer(self, context: Answered, request: Command, field: CommandField, status: int) -> None:
        content = command_set.encode(
            Command(
                field=field,
                sop_class_uid=request.sop_class_uid,
                responded_message_id=request.message_id,
                status=status,
                sop_instance_uid=request.sop_instance_uid,
            )
        )
        step = max(1, self._max_pdu - 6) if self._max_pdu else len(content)
        parts: list[bytes] = []
        for start in range(0, len(content), step):
            piece = content[start : start + step]
            flags = 1 | (2 if start + step >= len(content) else 0)
            parts.append(struct.pack(">BBIIBB", _DATA, 0, len(piece) + 6, len(piece) + 2, context.id, flags) + piece)
        self._stream.set_timeout(self._settings.message_seconds)
        self._stream.send(b"".join(parts))  # in one write: no peer's delayed acknowledgement can stall it

    # --- PDUs ---

    def _header(self) -> tuple[int, int]:
        kind, _, length = struct.unpack(">BBI", self._stream.take(6))
        return kind, length

    def _enter(self, kind: int, length: int) -> None:
        if kind != _DATA:
            raise _Violation(_UNEXPECTED)
        if length > max(_LONGEST_PDU, self._settings.pdu_bytes):
            raise _Violation(_INVALID)
        self._in_pdu = length

    def _fragment(self) -> tuple[int, int, bool, bool]:
        """Context id, length, whether it is of the command set, whether it is the last."""
        if not self._in_pdu:
            kind, length = self._header()
            if kind == _ABORT:
                raise StreamEnded(within=True)
            self._enter(kind, length)
        if self._in_pdu < 6:
            raise _Violation(_INVALID)
        length, context_id, flags = struct.unpack(">IBB", self._stream.take(6))
        if not 2 <= length <= self._in_pdu - 4:
            raise _Violation(_INVALID)
        self._in_pdu -= 6
        return context_id, length - 2, bool(flags & 1), bool(flags & 2)

    def _pour(self, length: int, sink: Callable[[memoryview], object]) -> None:
        self._stream.pour(length, sink)
        self._in_pdu -= length

    def _abort(self, source: int, reason: int) -> None:
        try:
            self._stream.set_timeout(_LAST_WORDS)
            self._stream.send(struct.pack(">BBIBBBB", _ABORT, 0, 4, 0, 0, source, reason))
            self._stream.finish(_LAST_WORDS)
        except (OSError, ValueError):
            return
