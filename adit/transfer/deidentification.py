"""De-identifies instances between fetch and store, by the profile that the assignment froze. Made by `treatment`.

Imported only by workers that have a profile. Nothing of an original leaves: what the engine refuses raises, and a
defect of ours ends the attempt before anything is sent.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from adit.deid.engine.byte_walk import Part, WholeNeededError
from adit.deid.engine.instance import Deidentified, Engine
from adit.deid.engine.plan import Change
from adit.deid.identity import Identity, WeakKeyError
from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.policy import Policy, ProfileError
from adit.deid.project_key import identity_from
from adit.deid.quarantine import LeftOut, Quarantine, Reason
from adit.deid.splice import Edit, SplicedInstance
from adit.dicom.node import Instance, Node
from adit.dicom.payload import SPOOL_ABOVE, MemoryPayload, Payload, ReceivedInstance, Spool
from adit.model.assignment import Assignment
from adit.model.deid_profile import DeidProfile, Option
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.treatment import Decision, TreatmentRecord
from adit.transfer.plan import Plan
from adit.transfer.refusal import quarantined, unavailable
from adit.transfer.renamed import Names, RenamedNode
from adit.transfer.treatment import Commit, RefusedError, Treated, refuse_other_names, stamped

_HEADS: Final = (2**16, 2**22)
"""Bytes of a big instance that are read before all of it is: the header of most is among the first, of nearly all
among the second."""

_JOINED: Final = 2**20
"""Up to so many bytes a treated instance is held as one: cheaper than to put it together as it is read."""

_PIECE: Final = 2**20
_REMEMBERED: Final = 500
_Done = tuple[str | None, tuple[Change, ...]]
"""Whose it is, and what was changed."""


class Deidentification:
    """Implements `adit.transfer.treatment.Treatment`.

    One engine for all store threads, which take turns: it learns from one slice what to do with the next, and two
    threads would not be faster in one interpreter.
    """

    deidentifies = True

    def __init__(self, assignment: Assignment, secrets: Path | None, spool: Spool | None) -> None:
        """Raises TransferFault when the profile or its key cannot be used."""
        assert assignment.profile is not None  # noqa: S101 - or there is nothing to do
        profile: DeidProfile = assignment.profile
        self._identity = _identity(profile, secrets)
        self._decoder = DecoderProcess()
        try:
            policy = Policy(profile)
        except ProfileError as error:
            raise unavailable(
                f"The profile {profile.metadata.name} cannot be used: {error}.", "Correct it, and make a new job."
            ) from None
        self._engine = Engine(policy, self._identity, self._decoder)
        self._names = Names(
            (lambda uid: uid)
            if Option.RETAIN_UIDS in profile.spec.options
            else self._identity.uid  # as the engine does
        )
        self._by = {
            "profile": profile.metadata.name,
            "generation": profile.metadata.generation,
            "project": profile.project,
            "edition": policy.standard.edition,
            "key_id": self._identity.key_id,
        }
        self._pseudonym = assignment.pseudonym
        self._trial = assignment.trial
        self._spool = spool
        self._patient_id: str | None = None
        self._subject: str | None = None  # whom the pseudonym stands for, as a keyed pseudonym
        self._several = False
        self._records: dict[_Done, TreatmentRecord] = {}
        self._last: tuple[_Done, TreatmentRecord] | None = None
        self._turn = threading.Lock()

    def take_up(self, rows: Sequence[InstanceRecord], earlier: Sequence[TreatmentRecord], plan: Plan) -> None:
        refuse_other_names(rows, self._names.sent_as)
        self._patient_id = plan.patient_id
        subjects = {record.subject for record in earlier if record.decision is Decision.TREATED} - {None}
        if self._pseudonym is not None and subjects:
            self._subject = min(filter(None, subjects))
            self._several = len(subjects) > 1

    def destination(self, node: Node, plan: Plan) -> Node:
        self._names.learn(instance.sop_instance_uid for instance in plan.instances)
        return RenamedNode(node, self._names)

    def study(self, original: str) -> str:
        return self._names.sent_as(original)

    def close(self) -> None:
        self._decoder.close()

    def treat(self, instance: Instance, commit: Commit) -> Treated:
        uid = instance.sop_instance_uid
        try:
            with self._turn:
                made, payload = self._made(instance)
                self._require_names(instance, made)
                record = self._treated_record(made)
                self._require_one_patient(uid, record, commit)
        except Quarantine as why:
            reason = f"{why.reason}: {why.cause}" if why.cause else str(why.reason)
            told = self._record(Decision.QUARANTINED, reason=reason, place=why.place or None)
            raise RefusedError(quarantined(uid, why), told) from None
        except LeftOut as why:
            return Treated(None, self._record(Decision.LEFT_OUT, reason=why.what))
        except OSError as error:
            raise TransferFault(_unread(uid, error)) from error
        treated = ReceivedInstance(
            instance.study_instance_uid,
            instance.series_instance_uid,
            made.sop_class_uid,
            uid,
            made.transfer_syntax_uid,
            payload,
        )
        return Treated(stamped(treated, self._trial), record)

    def _made(self, instance: Instance) -> tuple[Deidentified, Payload]:
        size = instance.size
        with instance.open() as reader:
            if size <= SPOOL_ABOVE:
                made = self._treated(reader.read(), instance, size, None)
                return made, _payload(made, instance)
            head = b""
            for length in _HEADS:
                head += reader.read(length - len(head))
                try:
                    made = self._treated(head, instance, size, reader)
                    return made, _payload(made, instance)
                except WholeNeededError:
                    continue
            with self._mapped(instance) as whole:
                made = self._treated(whole, instance, size, None)
                return made, _payload(made, instance)

    def _treated(self, data: bytes | mmap.mmap, instance: Instance, size: int, reader: BinaryIO | None) -> Deidentified:
        def read(start: int, count: int) -> bytes:
            assert reader is not None  # noqa: S101 - asked only where the beginning was given
            reader.seek(start)
            return reader.read(count)

        return self._engine.treat(
            data,
            instance.transfer_syntax_uid,
            end=size,
            read=None if reader is None else read,
            pseudonym=self._pseudonym,
            patient_id=self._patient_id,
        )

    @contextmanager
    def _mapped(self, instance: Instance) -> Iterator[mmap.mmap]:
        """The whole of a big instance whose header is long, where the engine can look at it without holding it."""
        with (self._spool or Spool()).file() as file:
            with instance.open() as reader:
                while piece := reader.read(_PIECE):
                    file.write(piece)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                yield whole

    def _require_names(self, instance: Instance, made: Deidentified) -> None:
        """What is told to the destination is what stands in the instance; where not, it came under a wrong name."""
        for place, original, new in (
            ("0020000D", instance.study_instance_uid, made.study_instance_uid),
            ("0020000E", instance.series_instance_uid, made.series_instance_uid),
            ("00080018", instance.sop_instance_uid, made.sop_instance_uid),
        ):
            if self._names.sent_as(original) != new:
                raise Quarantine(Reason.IDENTIFIERS_MISSING, place, "it bears another UID than it was sent under")

    def _require_one_patient(self, uid: str, record: TreatmentRecord, commit: Commit) -> None:
        """One pseudonym cannot stand for two. Whom it stands for is written down before the first of them is sent."""
        if record.subject is None:
            return
        if self._subject is None:
            commit(record)
            self._subject = record.subject
        if self._several or record.subject != self._subject:
            self._several = True
            fault = Fault(
                code=FaultCode.DEIDENTIFICATION_REFUSED,
                message="The study has instances of several patients, and one pseudonym cannot stand for all of them.",
                cure="Have the source's records repaired, delete what was sent of the study, and make a new job; "
                "or give no pseudonym, so that each patient gets an own one.",
                sop_instance_uid=uid,
            )
            raise RefusedError(fault, self._record(Decision.QUARANTINED, reason="SeveralPatients", place="00100020"))

    def _treated_record(self, made: Deidentified) -> TreatmentRecord:
        """Remembered: most instances of a study are treated alike."""
        subject = None if self._pseudonym is None else self._identity.value(made.subject.patient_id)
        key = (subject, made.changes)
        if self._last is not None and self._last[0] == key:  # much faster than to hash all that was changed
            return self._last[1]
        found = self._records.get(key)
        if found is None:
            if len(self._records) >= _REMEMBERED:
                self._records.clear()
            changes = tuple(change.text for change in made.changes)
            found = self._records[key] = self._record(Decision.TREATED, subject=subject, changes=changes)
        self._last = key, found
        return found

    def _record(self, decision: Decision, **values: object) -> TreatmentRecord:
        return TreatmentRecord.model_validate({**self._by, "decision": decision, **values})


def _payload(made: Deidentified, instance: Instance) -> Payload:
    """The treated bytes: as one where they are few, else new bytes and ranges of the original."""
    if made.size <= _JOINED and not _is_partial(made):
        source = memoryview(made.source)
        return MemoryPayload(
            b"".join(part if isinstance(part, bytes) else source[part[0] : part[1]] for part in made.parts)
        )
    return SplicedInstance(instance, _edits(made.parts, instance.size), deflated=False, size=made.size)


def _is_partial(made: Deidentified) -> bool:
    return any(not isinstance(part, bytes) and part[1] > len(made.source) for part in made.parts)


def _edits(parts: Sequence[Part], size: int) -> tuple[Edit, ...]:
    """What is between the ranges that stay becomes the new bytes."""
    edits: list[Edit] = []
    taken, pending = 0, b""
    for part in (*parts, (size, size)):
        if isinstance(part, bytes):
            pending += part
            continue
        if part[0] < taken:
            raise ValueError("ranges of an original are out of order")
        if pending or part[0] > taken:
            edits.append(Edit(taken, part[0], pending))
        taken, pending = part[1], b""
    return tuple(edits)


def _identity(profile: DeidProfile, secrets: Path | None) -> Identity:
    name = profile.spec.key.secret_name
    if secrets is None:
        raise unavailable(
            f"The profile {profile.metadata.name} names the secret {name}, and no folder of secrets is configured.",
            "Set ADIT_SECRETS to a folder that holds one folder per secret.",
            FaultCode.SECRET_MISSING,
        )
    try:
        return identity_from(secrets / name / "key", profile.project)
    except OSError as error:
        raise unavailable(
            f"The secret {name} of the profile {profile.metadata.name} has no `key` that can be read "
            f"({error.strerror or type(error).__name__}).",
            "Make the Secret with the project's key: see docs/deidentification.md.",
            FaultCode.SECRET_MISSING,
        ) from None
    except WeakKeyError as error:
        raise unavailable(
            f"The secret {name} of the profile {profile.metadata.name} has a weak `key`: {error}.",
            "Give the project at least 32 random bytes: see docs/deidentification.md.",
            FaultCode.SECRET_MISSING,
        ) from None


def _unread(uid: str, error: OSError) -> Fault:
    return Fault(
        code=FaultCode.IO_FAILED,
        message=f"An instance that was received could not be read again: {error.strerror or type(error).__name__}.",
        cure="Check the worker's disk; the task is tried again.",
        sop_instance_uid=uid,
    )
