"""C-STORE as SCU: one channel, one association at a time, encoded bytes in, acknowledgement out.

Made by `node`. Contexts are negotiated when the first instance shows what is needed, one per SOP class
and transfer syntax; a pair that comes later makes the channel associate anew, with all pairs seen.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from adit.dicom.dimse.association import Association
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.contexts import RECODABLE, UNCOMPRESSED, for_store
from adit.dicom.dimse.negotiation import MAX_CONTEXTS, Context, Proposal
from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import SUCCESS, store_fault
from adit.dicom.node import Instance, Stored
from adit.dicom.payload import Spool
from adit.model.outcome import Fault, FaultCode, TransferFault

_ABSTRACT_SYNTAX_REFUSED: Final = 3
_PIECE: Final = 2**20
ROAD: Final = "C-STORE"
Pair = tuple[str, str]  # SOP class, transfer syntax


class Channel:
    """Implements `adit.dicom.node.StoreChannel`. After any fault the next `store` may associate anew."""

    def __init__(
        self,
        peer: Peer,
        associate: Callable[[Sequence[Proposal]], Association],
        sop_class_uids: Collection[str],
        spool: Spool | None,
    ) -> None:
        self._peer = peer
        self._associate = associate
        self._spool = spool
        self._pairs = {(sop_class, syntax): None for sop_class in sop_class_uids for syntax in UNCOMPRESSED}
        self._expected_classes = frozenset(sop_class_uids)
        self._association: Association | None = None
        self._contexts: dict[Pair, Context] = {}

    def store(self, instance: Instance) -> Stored:
        """Sends it as it is where the peer takes its transfer syntax, else losslessly re-encoded, else raises.

        With `sop_instance_uid` set in the fault this instance was refused and the channel goes on.
        """
        try:
            association = self._ready_for(instance)
            context = self._contexts[instance.sop_class_uid, instance.transfer_syntax_uid]
            if context.result == 0:
                return self._send(association, context, instance)
            context = self._substitute(instance)
            from adit.dicom.dimse.recode import UnreadableError, recoded  # with pydicom, and hardly ever needed

            try:
                given = instance.transfer_syntax_uid, _digest(instance)
                substitute = recoded(instance, context.transfer_syntax, self._spool)
            except UnreadableError as error:
                raise self._peer.fault(
                    FaultCode.INSTANCE_UNREADABLE,
                    f"The instance cannot be re-encoded for a peer that refuses its transfer syntax: {error}",
                    f"Have the peer accept {_name(instance.transfer_syntax_uid)}, or mend the instance.",
                    instance=instance.sop_instance_uid,
                ) from error
            except OSError as error:
                raise self._peer.fault(
                    FaultCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else FaultCode.IO_FAILED,
                    f"A re-encoded copy of an instance cannot be kept in the spool folder ({error.strerror})",
                    "Make room in the worker's spool folder (ADIT_SPOOL).",
                    instance=instance.sop_instance_uid,
                ) from error
            try:
                return replace(self._send(association, context, substitute), given=given)
            finally:
                substitute.close()
        except TransferFault as stopped:
            if stopped.fault.sop_instance_uid is None:
                self._drop()
            raise
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        if self._association is not None:
            self._association.release()
            self._association = None

    def _drop(self) -> None:
        if self._association is not None:
            self._association.abort()
            self._association = None

    def _ready_for(self, instance: Instance) -> Association:
        """An association on which the instance's pair, and its uncompressed substitutes, were proposed."""
        if self._association is not None and self._association.has_ended:
            self._drop()  # some peers close an association that was idle for a while: that is no fault
        needed = [(instance.sop_class_uid, syntax) for syntax in (*UNCOMPRESSED, instance.transfer_syntax_uid)]
        if self._association is not None and all(pair in self._contexts for pair in needed):
            return self._association
        self.close()
        if not self._contexts:  # what is expected will most likely come in the first one's transfer syntax
            needed = [*((each, instance.transfer_syntax_uid) for each in self._expected_classes), *needed]
        for pair in needed:  # the most recently used stand last, and stay when there are more than fit
            self._pairs.pop(pair, None)
            self._pairs[pair] = None
        for forgotten in list(self._pairs)[:-MAX_CONTEXTS]:
            del self._pairs[forgotten]
        association = self._association = self._associate(for_store(list(self._pairs)))
        self._contexts = dict(zip(self._pairs, association.contexts, strict=True))
        return association

    def _substitute(self, instance: Instance) -> Context:
        """The context for a re-encoded copy. Raises why the instance cannot go."""
        uncompressed = [self._contexts[instance.sop_class_uid, syntax] for syntax in UNCOMPRESSED]
        accepted = [context for context in uncompressed if context.result == 0]
        own = self._contexts[instance.sop_class_uid, instance.transfer_syntax_uid]
        if not accepted and own.result == _ABSTRACT_SYNTAX_REFUSED:
            raise self._peer.fault(
                FaultCode.SOP_CLASS_REFUSED,
                f"The peer does not accept the SOP class {_name(instance.sop_class_uid)}",
                "Have the class enabled at the peer, or leave the series out.",
                instance=instance.sop_instance_uid,
            )
        if instance.transfer_syntax_uid in RECODABLE and accepted:
            return accepted[0]
        raise self._peer.fault(
            FaultCode.TRANSFER_SYNTAX_REFUSED,
            f"The peer does not accept {_name(instance.sop_class_uid)} in {_name(instance.transfer_syntax_uid)}"
            + (", only uncompressed" if accepted else ""),
            f"Have {_name(instance.transfer_syntax_uid)} enabled at the peer; the instance is never decompressed "
            "on the way.",
            instance=instance.sop_instance_uid,
        )

    def _send(self, association: Association, context: Context, instance: Instance) -> Stored:
        message_id = association.next_message_id()
        request = Command(
            field=CommandField.C_STORE_RQ,
            has_data_set=True,
            sop_class_uid=instance.sop_class_uid,
            message_id=message_id,
            priority=0,
            sop_instance_uid=instance.sop_instance_uid,
        )
        try:
            with instance.open() as reader:
                sha256 = association.send_data_set(context, request, reader, instance.size)
        except (OSError, EOFError) as error:
            self._drop()  # the peer waits for the rest of a message that cannot be finished
            raise self._peer.fault(
                FaultCode.IO_FAILED,
                f"The instance cannot be read from the spool folder ({error})",
                "Check the disk that holds ADIT_SPOOL.",
                instance=instance.sop_instance_uid,
            ) from error
        except TransferFault:
            self._drop()  # for the same reason, where it is the instance's
            raise
        warning = self._acknowledgement(association, request)
        return Stored(
            sop_instance_uid=instance.sop_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=context.transfer_syntax,
            size=instance.size,
            sha256=sha256,
            warning=warning,
            road=ROAD,
        )

    def _acknowledgement(self, association: Association, request: Command) -> Fault | None:
        """None, or a warning. Raises when the peer refuses, or answers something else than was asked."""
        uid = request.sop_instance_uid or ""
        _, answer = association.receive()
        if answer.has_data_set:
            association.receive_identifier()
        is_ours = (
            answer.field == CommandField.C_STORE_RSP
            and answer.responded_message_id == request.message_id
            and answer.sop_instance_uid in (None, "", uid)
        )
        if not is_ours or answer.status is None:
            self._drop()  # whose answer comes next can no longer be told
            raise self._peer.fault(
                FaultCode.STORE_FAILED,
                "The peer acknowledged another instance than the one sent"
                if answer.field == CommandField.C_STORE_RSP
                else f"The peer answered with a message of type 0x{answer.field:04X}",
                "The peer breaks PS3.7 9.1.1; report it to its vendor.",
                instance=uid,
                status=answer.status,
            )
        if answer.status == SUCCESS:
            return None
        fault = store_fault(self._peer, uid, _name(request.sop_class_uid or ""), answer.status)
        if fault is None:
            return None
        if fault.code is FaultCode.STORED_WITH_WARNING:
            return fault
        raise TransferFault(fault)


def _digest(instance: Instance) -> str:
    digest = hashlib.sha256()
    with instance.open() as reader:
        while piece := reader.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _name(uid: str) -> str:
    from pydicom.uid import UID

    name = UID(uid).name
    return uid if name == uid else f"{name} ({uid})"
