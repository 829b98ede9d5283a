"""What is the matter with an instance that is passed on all the same. Noted by `intake`, which warns of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from adit.model.counted import counted
from adit.model.outcome import Fault, FaultCode


class Oddity(Enum):
    """Each with its fault, what is said of so many instances, and the cure, which speaks of the first."""

    MISFILED = (
        FaultCode.PATIENT_ID_MISMATCH,
        "with another PatientID than that under which the source keeps it.",
        "See at the source whose they are (this one is the first); they were transferred as the source has them.",
    )
    MISNAMED = (
        FaultCode.FETCHED_WITH_WARNING,
        "came as of another SOP class than the data set names.",
        "See at the source what they are (this is the first); they were passed on as what their data sets name.",
    )
    MISCODED = (
        FaultCode.FETCHED_WITH_WARNING,
        "encoded otherwise than the transfer syntax of the transfer says.",
        "Have them mended at the source, and see whether the destination can read them (this one is the first); "
        "they were passed on as they came.",
    )

    def of(self, uids: Sequence[str], source: str) -> Fault:
        """One warning of all these instances."""
        code, said, cure = self.value
        return Fault(
            code=code,
            message=f"{counted(len(uids), 'instance')} {said}",
            cure=cure,
            node=source,
            sop_instance_uid=uids[0],
        )
