"""Takes what the source delivers: checks that it is whole and what it is, drops repeats, hands on the rest.

`Intake.deliver` is the callback given to `Node.fetch`; it runs in the source's thread.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Final

from adit.deid.element_walk import MalformedError
from adit.dicom.node import Instance
from adit.model.counted import counted
from adit.model.identifiers import UID_AS_SENT
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.transfer.as_stated import AsStated
from adit.transfer.channel import Channel
from adit.transfer.halt import FAULTS, Halt
from adit.transfer.oddity import Oddity
from adit.transfer.plan import conflict
from adit.transfer.roster import Admission, Roster
from adit.transfer.wholeness import Statement, examine

Treat = Callable[[Instance], Instance | None]
"""What happens to an instance between fetch and store: returns it, or a new one that replaces it; None when it is to go
no further, by rule. Raises TransferFault naming the instance; the given instance stays the caller's."""

_CHUNK: Final = 2**20


def digest(instance: Instance) -> str:
    """SHA-256 of the encoded data set, in hex."""
    sha256 = hashlib.sha256()
    with instance.open() as reader:
        while chunk := reader.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


class Intake:
    """One per attempt. `error` holds a bug found in the source's thread, where raising it would hide it."""

    def __init__(
        self, source: str, patient_id: str | None, roster: Roster, channel: Channel, treat: Treat, halt: Halt
    ) -> None:
        self._source = source
        self._patient_id = patient_id  # under which the source keeps the study, where it says so
        self._roster = roster
        self._channel = channel
        self._treat = treat
        self._halt = halt
        self.counts: Counter[Admission] = Counter()
        self.error: BaseException | None = None
        self._broken: set[str] = set()  # SOP Instance UIDs of what came and was not whole
        self._odd: dict[Oddity, list[str]] = defaultdict(list)  # SOP Instance UIDs of what was passed on

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What was passed on and should be looked at, and what no row tells of, once the fetch is over."""
        warnings = [oddity.of(self._odd[oddity], self._source) for oddity in Oddity if oddity in self._odd]
        if self._broken and (unlisted := self._broken - {row.sop_instance_uid for row in self._roster.rows()}):
            warnings.append(_unlisted(unlisted, self._source))
        return tuple(warnings)

    def deliver(self, instance: Instance) -> None:
        """Owns the instance from here on, whatever happens.

        Raises TransferFault: naming the instance to refuse it, naming none to end the fetch.
        """
        kept = False
        try:
            kept = self._accept(instance)
        except TransferFault:
            raise
        except Exception as error:
            self.error = error
            raise TransferFault(
                Fault(code=FaultCode.UNEXPECTED, message="An instance could not be taken over.", node=self._source)
            ) from error
        finally:
            if not kept:
                instance.close()

    def _accept(self, instance: Instance) -> bool:
        """Whether the channel has it now."""
        reason = self._halt.reason
        if reason is not None:
            raise TransferFault(FAULTS[reason])
        statement = self._examine(instance)
        own_class = statement.sop_class_uid
        misnamed = own_class not in ("", instance.sop_class_uid)
        if misnamed and UID_AS_SENT.fullmatch(own_class):
            instance = AsStated(instance, own_class)
        admission = self._roster.admit(instance)
        self.counts[admission] += 1
        match admission:
            case Admission.FOREIGN:
                raise TransferFault(_foreign(instance, self._source))
            case Admission.CONTRADICTORY:
                fault = conflict(instance.sop_instance_uid, self._source)
                self._roster.fail(instance.sop_instance_uid, fault)
                raise TransferFault(fault)
            case Admission.REPEATED:
                self._compare(instance)
                return False
        if self._patient_id is not None and statement.contradicts(self._patient_id):
            self._odd[Oddity.MISFILED].append(instance.sop_instance_uid)
        if misnamed:
            self._odd[Oddity.MISNAMED].append(instance.sop_instance_uid)
        if not statement.as_its_syntax_says:
            self._odd[Oddity.MISCODED].append(instance.sop_instance_uid)
        self._channel.put(instance)
        return True

    def _examine(self, instance: Instance) -> Statement:
        """Raises TransferFault naming the instance when it is not whole, or another one than it came as.

        What comes so twice gets no third chance.
        """
        try:
            statement = examine(instance)
            if statement.sop_instance_uid not in ("", instance.sop_instance_uid):
                raise MalformedError("its data set bears another SOP Instance UID than it came under")
            return statement
        except (MalformedError, OSError) as error:
            uid, fault = instance.sop_instance_uid, _broken(instance, self._source, error)
            if uid in self._broken and any(row.sop_instance_uid == uid for row in self._roster.unseen()):
                self._roster.fail(uid, fault)
            self._broken.add(uid)
            raise TransferFault(fault) from error

    def _compare(self, instance: Instance) -> None:
        """A repeat is dropped; one with other content means that nobody knows which is right."""
        if not self._roster.arrived_now(instance.sop_instance_uid):
            return  # an earlier attempt's: the source may have edited it since, and that one was acknowledged
        treated = self._treat(instance)
        if treated is None:
            return
        try:
            same = self._roster.repeated(instance.sop_instance_uid, treated.transfer_syntax_uid, digest(treated))
        finally:
            treated.close()
        if not same:
            fault = conflict(instance.sop_instance_uid, self._source)
            self._roster.fail(instance.sop_instance_uid, fault)
            raise TransferFault(fault)


def _broken(instance: Instance, source: str, error: MalformedError | OSError) -> Fault:
    if isinstance(error, OSError):
        return Fault(
            code=FaultCode.IO_FAILED,
            message=f"An instance that was received could not be read again: {error.strerror or type(error).__name__}.",
            cure="Check the worker's disk.",
            node=source,
            sop_instance_uid=instance.sop_instance_uid,
        )
    return Fault(
        code=FaultCode.INSTANCE_UNREADABLE,
        message=f"The source sent an instance that cannot be passed on, because {error}.",
        cure="Have the instance repaired at the source, or sent to it once more.",
        node=source,
        sop_instance_uid=instance.sop_instance_uid,
    )


def _unlisted(uids: Collection[str], source: str) -> Fault:
    return Fault(
        code=FaultCode.FETCHED_WITH_WARNING,
        message=f"{counted(len(uids), 'instance')} that the source had not listed came broken and went no further.",
        cure="Look at the source: it may hold more of the study than it shows.",
        node=source,
        sop_instance_uid=min(uids),
    )


def _foreign(instance: Instance, source: str) -> Fault:
    return Fault(
        code=FaultCode.INSTANCE_REFUSED,
        message="The source sent an instance of another study or series than the one asked for; it was not passed on.",
        cure="Look at the source: it answers a retrieve with data of something else.",
        node=source,
        sop_instance_uid=instance.sop_instance_uid,
    )
