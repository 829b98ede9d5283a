"""De-identifies instances between fetch and store, by the profile that the assignment froze. Made by `treatment`.

Imported only by workers that have a profile. Nothing of an original leaves: what the engine refuses raises, and a
defect of ours ends the attempt before anything is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.plan import Change
from adit.deid.identity import Identity, WeakKeyError
from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.project_key import identity_from
from adit.deid.quarantine import LeftOut, Quarantine, Reason
from adit.dicom.node import Instance, Node
from adit.dicom.payload import ReceivedInstance, Spool
from adit.dicom.secret_place import secret_place
from adit.model.assignment import Assignment
from adit.model.deid_profile import DeidProfile, Option
from adit.model.dicom_node import Accepts
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.treatment import Decision, TreatmentRecord
from adit.transfer.instance_engine import InstanceEngine
from adit.transfer.plan import Plan
from adit.transfer.refusal import quarantined, unavailable
from adit.transfer.renamed import Names, RenamedNode
from adit.transfer.treatment import Commit, ProjectKey, RefusedError, Treated, refuse_other_names, stamped

_Done = tuple[str | None, tuple[Change, ...]]
"""Whose it is, and what was changed."""

_REMEMBERED: Final = 500


class Deidentification:
    """Implements `adit.transfer.treatment.Treatment`.

    One engine for all store threads, which take turns: it learns from one slice what to do with the next, and two
    threads would not be faster in one interpreter.
    """

    deidentifies = True
    changes = True

    def __init__(self, assignment: Assignment, secrets: Path | None, spool: Spool | None) -> None:
        """Raises TransferFault when the profile or its key cannot be used, or what it makes may not go there."""
        assert assignment.profile is not None  # noqa: S101 - or there is nothing to do
        profile: DeidProfile = assignment.profile
        self._identity = _identity(profile, secrets)
        self._decoder = DecoderProcess()
        self._engine = InstanceEngine(profile, self._identity, self._decoder, spool)
        if self._engine.keeps_identity and assignment.destination.spec.accepts is Accepts.DEIDENTIFIED:
            raise unavailable(
                f"DicomNode {assignment.destination.metadata.name} accepts de-identified instances only, and overrides "
                f"of the profile {profile.metadata.name} keep who the patient is.",
                "Name a profile that keeps neither names nor the patient's own numbers, or another destination.",
            )
        self._names = Names(
            (lambda uid: uid)
            if Option.RETAIN_UIDS in profile.spec.options
            else self._identity.uid  # as the engine does
        )
        self._by = {
            "profile": profile.metadata.name,
            "generation": profile.metadata.generation,
            "project": profile.project,
            "edition": self._engine.edition,
            "key_id": self._identity.key_id,
        }
        self._secret = profile.spec.key.secret_name
        self._project_key: ProjectKey | None = None  # until it is known that it has our key
        self._pseudonym = assignment.pseudonym
        self._trial = assignment.trial
        self._patient_id: str | None = None
        self._subject: str | None = None  # whom the pseudonym stands for, as a keyed pseudonym
        self._several = False
        self._records: dict[_Done, TreatmentRecord] = {}
        self._last: tuple[_Done, TreatmentRecord] | None = None
        self._turn = threading.Lock()

    def take_up(
        self,
        rows: Sequence[InstanceRecord],
        earlier: Sequence[TreatmentRecord],
        plan: Plan,
        project_key: ProjectKey,
    ) -> None:
        refuse_other_names(rows, self._names.sent_as)
        self._require_key(project_key(None))
        self._project_key = project_key
        self._patient_id = plan.patient_id
        subjects = {record.subject for record in earlier if record.decision is Decision.TREATED} - {None}
        if self._pseudonym is not None and subjects:
            self._subject = min(filter(None, subjects))
            self._several = len(subjects) > 1

    def _require_key(self, key_id: str) -> None:
        """Another key would give a patient of earlier jobs another name, and other dates."""
        ours = self._identity.key_id
        if key_id in ("", ours):
            return
        raise unavailable(
            f"The project {self._identity.project} was de-identified with the key {key_id} so far, and the Secret "
            f"{self._secret} holds the key {ours}: its patients would get other pseudonyms, UIDs and dates.",
            f"Give the Secret the key {key_id} back; or name another project in the profile, whose pseudonyms are its "
            "own.",
        )

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
                made, payload = self._engine.treat(instance, self._pseudonym, self._patient_id)
                self._require_names(instance, made)
                if self._project_key is not None:
                    self._require_key(self._project_key(self._identity.key_id))
                    self._project_key = None  # it is the project's now
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
            f"({error.strerror or type(error).__name__}){secret_place(secrets / name)}.",
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
        cure="Check the worker's disk.",
        sop_instance_uid=uid,
    )
