"""What happens to each instance on its way: nothing, the trial's two elements, or de-identification.

Chosen by `attempt`. The rest of the room knows instances by the names that their source gives them, whatever they
leave under.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adit.dicom.node import Instance, Node
from adit.model.assignment import Assignment
from adit.model.counted import counted
from adit.model.dicom_node import Accepts
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.trial import Trial
from adit.transfer.plan import Plan

if TYPE_CHECKING:
    from adit.dicom.payload import Spool
    from adit.model.treatment import TreatmentRecord


@dataclass(frozen=True, slots=True)
class Treated:
    """What came of an instance. `instance` may be the given one; None when the profile leaves it out."""

    instance: Instance | None
    record: TreatmentRecord | None = None


class RefusedError(TransferFault):
    """It must not leave; `record` is what the audit tells of it."""

    def __init__(self, fault: Fault, record: TreatmentRecord) -> None:
        super().__init__(fault)
        self.record = record


Commit = Callable[["TreatmentRecord"], None]
"""Returns when the ledger has the record. Raises TransferFault."""


ProjectKey = Callable[[str | None], str]
"""The id of the key that the project has, empty while it has none; a claimed one becomes it then. Raises
TransferFault."""


class Treatment(Protocol):
    """Of one attempt. Safe for threads."""

    @property
    def deidentifies(self) -> bool: ...

    @property
    def changes(self) -> bool:
        """Whether instances leave otherwise than they came."""
        ...

    def take_up(
        self,
        rows: Sequence[InstanceRecord],
        earlier: Sequence[TreatmentRecord],
        plan: Plan,
        project_key: ProjectKey,
    ) -> None:
        """Goes on where earlier attempts ended. Raises TransferFault when what they, or other jobs of the project,
        sent left under other names."""
        ...

    def treat(self, instance: Instance, commit: Commit) -> Treated:
        """The given instance stays its owner's, and must stay open as long as what came of it.

        Raises TransferFault naming it; RefusedError is one.
        """
        ...

    def destination(self, node: Node, plan: Plan) -> Node:
        """The node, asked and answering by the originals' UIDs."""
        ...

    def study(self, original: str) -> str:
        """The StudyInstanceUID that the destination knows the study by."""
        ...

    def close(self) -> None: ...


def treatment_of(assignment: Assignment, secrets: Path | None, spool: Spool | None) -> Treatment:
    """An original must never pass where a de-identified copy was asked for: called before anything else.

    Raises TransferFault when the assignment asks for what cannot be done.
    """
    if assignment.profile is None:
        _refuse_originals(assignment)
        return AsTheyAre(assignment.trial)
    from adit.transfer.deidentification import Deidentification

    return Deidentification(assignment, secrets, spool)


class AsTheyAre:
    """Implements Treatment: the originals, but for the trial where there is one."""

    deidentifies = False

    def __init__(self, trial: Trial | None) -> None:
        self._trial = trial
        self.changes = trial is not None

    def take_up(
        self,
        rows: Sequence[InstanceRecord],
        earlier: Sequence[TreatmentRecord],
        plan: Plan,
        project_key: ProjectKey,
    ) -> None:
        refuse_other_names(rows, lambda uid: None)

    def treat(self, instance: Instance, commit: Commit) -> Treated:
        return Treated(stamped(instance, self._trial))

    def destination(self, node: Node, plan: Plan) -> Node:
        return node

    def study(self, original: str) -> str:
        return original

    def close(self) -> None:
        """Holds nothing."""


def stamped(instance: Instance, trial: Trial | None) -> Instance:
    """With the trial's two elements, if there is a trial."""
    if trial is None:
        return instance
    from adit.deid.trial import stamp

    return stamp(instance, trial)


def refuse_other_names(rows: Sequence[InstanceRecord], sent_as: Callable[[str], str | None]) -> None:
    """What is at the destination under other names than this attempt would give stays there: no two copies.

    Names change with the project, its key, and RetainUIDs; so does it when a profile is added or taken away.
    """
    there = (InstanceState.STORED, InstanceState.VERIFIED)
    others = [row for row in rows if row.state in there and row.sent_as != sent_as(row.sop_instance_uid)]
    if others:
        raise TransferFault(
            Fault(
                code=FaultCode.DEIDENTIFICATION_UNAVAILABLE,
                message=f"Earlier attempts sent {counted(len(others), 'instance')} under other UIDs than the profile "
                "and its key make now.",
                cure="Give the profile back its project, key and options; or delete what was sent at the destination, "
                "and make a new job that names its studies.",
            )
        )


def _refuse_originals(assignment: Assignment) -> None:
    destination = assignment.destination
    if destination.spec.accepts is Accepts.DEIDENTIFIED:
        raise TransferFault(
            Fault(
                code=FaultCode.DEIDENTIFICATION_UNAVAILABLE,
                message=f"DicomNode {destination.metadata.name} accepts de-identified instances only, and the job "
                "names no profile.",
                cure="Name a DeidProfile in deidentification.profile, or another destination.",
                node=destination.metadata.name,
            )
        )
    if assignment.pseudonym is not None:
        raise TransferFault(
            Fault(
                code=FaultCode.DEIDENTIFICATION_UNAVAILABLE,
                message="The task gives a pseudonym, and the job names no profile to de-identify by.",
                cure="Name a DeidProfile in deidentification.profile; or give no pseudonym if originals may be sent.",
            )
        )
