"""One association as its requestor sees it: negotiated in `negotiation`, pumped by our own loop.

Called by `find`, `get`, `store`, `probe`. pynetdicom's own Association gathers a whole PDU and then a
whole message in memory, and polls in two threads each millisecond; with an unlimited PDU length memory
would grow with the object. Here one thread sends and receives, data sets pass through in pieces of at
most 256 KiB, and an abort, a silence or an interruption ends the call that waits (PS3.8 section 9).
There is no other path beside it. It asks for no asynchronous operations window: Orthanc, DCMTK and pynetdicom grant
none, and several associations do what one would.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from adit.dicom.dimse import command as command_set
from adit.dicom.dimse import negotiation
from adit.dicom.dimse.command import Command
from adit.dicom.dimse.connection import Connection, Interruption
from adit.dicom.dimse.negotiation import Context, Proposal
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.rejection import abort_fault, rejection_fault
from adit.model.outcome import FaultCode, TransferFault

if TYPE_CHECKING:
    import ssl

_ACCEPT, _REJECT, _DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
_HEADER: Final = struct.Struct(">BBI")  # of any PDU: type, nothing, length
_TLS_ALERT: Final = 0x15  # no PDU: how a TLS peer may answer who does not speak TLS
_OF_HTTP: Final = b"HTTP/1"  # no PDU either, and as long as a header: how a web server answers
_RELEASE_SECONDS: Final = 5.0  # for the peer to agree to a release
_LATE_PDUS: Final = 1000  # that a peer may still send after we asked for a release
_ABORT_SECONDS: Final = 1.0  # for the peer to take note of an A-ABORT
_TICK: Final = 0.2  # seconds in which an order to stop is noticed
_BLOCK: Final = 256 * 1024  # bytes of a data set read and sent at once
_UNLIMITED_PDV: Final = 128 * 1024  # what we put into one PDV when the peer sets no limit
_PROGRESS: Final = 64 * 1024  # bytes of a data set that must come within the node's network time-out
_MAX_NEGOTIATION: Final = 1024 * 1024
_MAX_COMMAND: Final = 64 * 1024
_MAX_IDENTIFIER: Final = 2 * 2**20


class Association:
    """An established association. Any call may raise TransferFault, and then the association is dead: abort it."""

    def __init__(
        self,
        peer: Peer,
        connection: Connection,
        meter: Callable[[int], None] | None,
        on_end: Callable[[], None] | None,
    ) -> None:
        self._peer = peer
        self._connection = connection
        self._meter = meter
        self._on_end = on_end
        self._in_pdu = 0  # bytes of the current P-DATA-TF PDU not yet read
        self._in_data_set = False  # the current message has one that was not read to its end
        self._in_fragment = False  # nor the current fragment of it
        self._is_last = False  # which is the last one
        self._message_id = 0
        self._first_pdu: int | None = None  # the type of what answered our request
        self.contexts: tuple[Context, ...] = ()
        self.accepted: Mapping[int, Context] = {}
        self.max_pdu = 0  # what the peer takes; 0 is unlimited
        self.implementation = ""

    @classmethod
    def request(
        cls,
        peer: Peer,
        proposals: Sequence[Proposal],
        interruption: Interruption,
        tls: ssl.SSLContext | None = None,
        meter: Callable[[int], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Association:
        """Connects and negotiates; `meter` is told of each piece of a data set and may sleep.

        `on_end` is called once, when a negotiated association has been released or aborted.

        Raises TransferFault: NODE_UNREACHABLE, ASSOCIATION_REJECTED(_TRANSIENT), NODE_TIMEOUT and the connection's own.
        """
        association = cls(peer, Connection.open(peer, interruption, tls), meter, on_end)
        try:
            association._negotiate(proposals)
        except TransferFault as stopped:
            association._connection.close()
            if tls is None and stopped.fault.code is FaultCode.ASSOCIATION_ABORTED:
                association._doubt()
            raise
        except BaseException:
            association._connection.close()
            raise
        return association

    def next_message_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def send(self, context: Context, command: Command, identifier: bytes = b"") -> None:
        """Sends a message whose data set is small, as few writes as the peer's PDU length allows."""
        parts = self._fragments(context, memoryview(command_set.encode(command)), is_command=True, is_last=True)
        if identifier:
            parts += self._fragments(context, memoryview(identifier), is_command=False, is_last=True)
        self._connection.set_timeout(self._peer.dimse.timeouts.network_seconds)
        self._write(parts)

    def send_data_set(self, context: Context, command: Command, reader: BinaryIO, size: int) -> str:
        """Sends a message whose data set is `size` bytes from `reader`; returns their SHA-256 as hex.

        Raises EOFError when the reader has fewer bytes: the peer waits for the rest then, so abort.
        """
        if not size:
            raise EOFError("the data set is empty")
        digest = hashlib.sha256()
        parts = self._fragments(context, memoryview(command_set.encode(command)), is_command=True, is_last=True)
        self._connection.set_timeout(self._peer.dimse.timeouts.network_seconds)
        left = size
        block_size = _BLOCK - _BLOCK % self._pdv_length if self._pdv_length < _BLOCK else _BLOCK
        while left:
            block = reader.read(min(block_size, left))
            if not block:
                raise EOFError(f"the data set ends {left} bytes early")
            left -= len(block)
            if self._meter is not None:
                self._meter(len(block))
            parts += self._fragments(context, memoryview(block), is_command=False, is_last=not left)
            self._write(parts)
            parts = []
            digest.update(block)  # while the peer is at it
        return digest.hexdigest()

    def wait(self, seconds: float) -> bool:
        """Whether the peer says something, be it the end, within so many seconds: for whoever awaits other news too."""
        return self._connection.wait(seconds)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """For the last words: what comes or goes meanwhile takes no longer altogether, and is not metered."""
        meter, self._meter = self._meter, None
        try:
            with self._connection.within(seconds):
                yield
        finally:
            self._meter = meter

    def spare(self) -> None:
        """An interruption severs it some seconds later only: its user looks out for one and takes leave."""
        self._connection.spare()

    def receive(self, look_out: Callable[[], None] | None = None) -> tuple[Context, Command]:
        """The next message's command set; its data set, if any, must be read next.

        Waits as long as the node's DIMSE time-out until it is complete; `look_out` is called before, and every now and
        then while nothing comes.
        """
        self._connection.set_timeout(self._peer.dimse.timeouts.dimse_seconds)
        if look_out is not None:
            look_out()
            while not self._connection.wait(_TICK) and not self._connection.is_late:
                look_out()
        encoded = bytearray()
        is_last = False
        context_id = 0
        while not is_last:
            context_id, length, is_command, is_last = self._next_fragment()
            if not is_command:
                raise self._violation("sent a data set where a command set was due")
            if len(encoded) + length > _MAX_COMMAND:
                raise self._violation("sent a command set of more than 64 KiB")
            self._pour(length, encoded.extend)
        context = self.accepted.get(context_id)
        if context is None:
            raise self._violation(f"sent a message in presentation context {context_id}, which was not accepted")
        try:
            command = command_set.decode(bytes(encoded))
        except command_set.MalformedError as error:
            raise self._violation(f"sent a malformed command set ({error})") from error
        self._in_data_set = command.has_data_set
        return context, command

    def receive_data_set(
        self, sink: Callable[[memoryview], object], look_out: Callable[[], None] | None = None
    ) -> None:
        """Pours the current message's data set into `sink`, piece by piece.

        Each 64 KiB of it, or its end, must come within the node's network time-out; `look_out` is called all the while.
        """
        self._connection.set_timeout(self._peer.dimse.timeouts.network_seconds, every=_PROGRESS, look_out=look_out)
        while self._in_data_set:
            _, length, is_command, self._is_last = self._next_fragment()
            if is_command:
                raise self._violation("sent a command set where a data set was due")
            self._in_fragment = True
            self._pour(length, sink)
            self._in_fragment, self._in_data_set = False, not self._is_last
            if self._meter is not None and length:
                self._meter(length)

    def skip_data_set(self) -> None:
        """Reads past what is left of the current data set, wherever a sink or a look out broke off."""
        if self._in_fragment:
            self._connection.set_timeout(self._peer.dimse.timeouts.network_seconds)
            self._pour(self._connection.unpoured, len)
            self._in_fragment, self._in_data_set = False, not self._is_last
        self.receive_data_set(len)

    def receive_identifier(self) -> bytes:
        """The current message's data set, where it is an identifier: a few hundred bytes, never megabytes."""
        collected = bytearray()

        def take(piece: memoryview) -> None:
            if len(collected) + len(piece) > _MAX_IDENTIFIER:
                raise self._violation("sent an identifier of more than 2 MiB")
            collected.extend(piece)

        self.receive_data_set(take)
        return bytes(collected)

    @property
    def has_ended(self) -> bool:
        """Whether the peer said something while nothing was asked: that can only be the end."""
        return self._connection.is_closed or self._connection.has_input

    def release(self) -> None:
        """Ends the association in good order, whatever the peer makes of it. Harmless on a closed one."""
        if self._connection.is_closed:
            return
        try:
            with contextlib.suppress(TransferFault):
                self._connection.set_timeout(_RELEASE_SECONDS)
                self._connection.send([struct.pack(">BBII", _RELEASE_RQ, 0, 4, 0)])
                for _ in range(_LATE_PDUS):
                    kind, length = self._next_header()
                    self._connection.pour(length, len)
                    if kind in (_RELEASE_RP, _ABORT):
                        break
                    if kind == _RELEASE_RQ:  # both at once: PS3.8 section 9.2.3, release collision
                        self._connection.send([struct.pack(">BBII", _RELEASE_RP, 0, 4, 0)])
        finally:
            self._end()

    def abort(self) -> None:
        """Ends the association at once. Harmless on a closed one."""
        if self._connection.is_closed:
            return
        try:
            with contextlib.suppress(TransferFault):
                self._connection.set_timeout(_ABORT_SECONDS)
                self._connection.send([struct.pack(">BBIBBBB", _ABORT, 0, 4, 0, 0, 0, 0)])
                # Closed with answers unread, the kernel would reset the connection and the A-ABORT could be lost.
                self._connection.drain(_ABORT_SECONDS)
        finally:
            self._end()

    def _end(self) -> None:
        self._connection.close()
        if self._on_end is not None:
            self._on_end()

    # Sending

    @property
    def _pdv_length(self) -> int:
        """Bytes of a message that fit into one PDU: its length less the PDV's header (PS3.8 9.3.5.1)."""
        return max(1, self.max_pdu - 6) if self.max_pdu else _UNLIMITED_PDV

    def _fragments(
        self, context: Context, content: memoryview, *, is_command: bool, is_last: bool
    ) -> list[bytes | memoryview]:
        parts: list[bytes | memoryview] = []
        step = self._pdv_length
        for start in range(0, len(content), step):
            piece = content[start : start + step]
            header = (1 if is_command else 0) | (2 if is_last and start + step >= len(content) else 0)
            parts.append(struct.pack(">BBIIBB", _DATA, 0, len(piece) + 6, len(piece) + 2, context.id, header))
            parts.append(piece)
        return parts

    def _write(self, parts: Sequence[bytes | memoryview]) -> None:
        for start in range(0, len(parts), 512):
            self._connection.send(parts[start : start + 512])

    # Receiving

    def _next_header(self) -> tuple[int, int]:
        kind, _, length = _HEADER.unpack(self._connection.take(_HEADER.size))
        return kind, length

    def _next_fragment(self) -> tuple[int, int, bool, bool]:
        """Context id, length, whether it is of the command set, whether it is the last."""
        if not self._in_pdu:
            self._in_pdu = self._next_data_pdu()
        if self._in_pdu < 6:
            raise self._violation("sent a P-DATA PDU without a whole fragment")
        length, context_id, header = struct.unpack(">IBB", self._connection.take(6))
        if not 2 <= length <= self._in_pdu - 4:
            raise self._violation(f"sent a fragment of {length} bytes that does not fit its PDU")
        self._in_pdu -= 6
        return context_id, length - 2, bool(header & 1), bool(header & 2)

    def _next_data_pdu(self) -> int:
        kind, length = self._next_header()
        if kind == _DATA:
            return length
        if kind == _ABORT and length == 4:
            raise abort_fault(self._peer, self._connection.take(4))
        if kind == _RELEASE_RQ and length == 4:
            self._connection.send([struct.pack(">BBII", _RELEASE_RP, 0, 4, 0)])
            raise self._peer.fault(
                FaultCode.ASSOCIATION_ABORTED,
                f"{self._peer.dimse.ae_title} released the association before it had answered",
                "If it happens each time, look into the node's log.",
            )
        raise self._violation(f"sent a PDU of type 0x{kind:02X} and {length} bytes where P-DATA was due")

    def _pour(self, length: int, sink: Callable[[memoryview], object]) -> None:
        try:
            self._connection.pour(length, sink)
        finally:
            self._in_pdu -= length - self._connection.unpoured

    def _violation(self, what: str) -> TransferFault:
        return self._peer.fault(
            FaultCode.ASSOCIATION_ABORTED,
            f"{self._peer.dimse.ae_title} {what}",
            "The peer breaks the protocol (PS3.8); report it to its vendor with this message.",
        )

    def _doubt(self) -> None:
        """Raises TLS_FAILED if the peer hung up without a word because it waits for those of TLS."""
        from adit.dicom.dimse.mismatch import speaks_tls

        if self._first_pdu in (None, _TLS_ALERT) and speaks_tls(self._peer):
            raise self._peer.fault(
                FaultCode.TLS_FAILED,
                f"{self._peer.address} speaks TLS, and the node has no `tls`",
                "Give the node `tls` with a Secret that holds the peer's authority as ca.crt, or name another port.",
            )

    def _negotiate(self, proposals: Sequence[Proposal]) -> None:
        self._connection.set_timeout(self._peer.dimse.timeouts.acse_seconds)
        self._connection.send([negotiation.request(self._peer, proposals)])
        header = self._connection.take(_HEADER.size)
        if header == _OF_HTTP:
            raise self._peer.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                f"{self._peer.address} answers in HTTP: it is a web server's port, and none of DICOM's DIMSE",
                "Correct the node's dimse.port; a DICOMweb server's address belongs into dicomWeb.url.",
            )
        kind, _, length = _HEADER.unpack(header)
        self._first_pdu = kind
        if length > _MAX_NEGOTIATION:
            raise self._violation(f"answered the association request with a PDU of {length} bytes")
        body = self._connection.take(length)
        if kind == _REJECT and length == 4:
            raise rejection_fault(self._peer, body)
        if kind == _ABORT and length == 4:
            raise abort_fault(self._peer, body)
        if kind != _ACCEPT:
            raise self._violation(f"answered the association request with a PDU of type 0x{kind:02X}")
        try:
            agreement = negotiation.agreement(struct.pack(">BBI", kind, 0, length) + body, proposals)
        except negotiation.MalformedError as error:
            raise self._violation(f"accepted the association in a PDU that cannot be read ({error})") from error
        self.contexts = agreement.contexts
        self.accepted = {context.id: context for context in agreement.contexts if context.result == 0}
        self.max_pdu = agreement.max_pdu
        self.implementation = agreement.implementation
