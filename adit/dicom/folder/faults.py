"""What the operating system's errors mean to a transfer. Used by everything in this package.

Messages name the node, its own folder and the instance; never a path below, which holds patient ids.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from adit.model.outcome import Fault, FaultCode, TransferFault

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


class Doubt(Enum):
    """Why something in a folder could not be judged."""

    DENIED = "denied"  # a file or folder that may not be read
    DAMAGED = "damaged"  # a file that looks like DICOM and cannot be read
    LINK = "link"  # a symbolic link that leads out of the folder, or nowhere


class FolderFaults:
    """Makes the faults of one folder node."""

    def __init__(self, node: str, root: Path) -> None:
        self.node = node
        self.root = root

    def of(self, error: OSError, doing: str, sop_instance_uid: str | None = None) -> TransferFault:
        """DISK_FULL, PERMISSION_DENIED, FOLDER_MISSING or IO_FAILED; `doing` such as "write an instance to"."""
        why = error.strerror or type(error).__name__
        message = f"Could not {doing} the folder {self.root}: {why}."
        if error.errno in _FULL:
            code, cure = FaultCode.DISK_FULL, "Free space there, or raise the quota."
        elif error.errno in _DENIED:
            code, cure = FaultCode.PERMISSION_DENIED, "Give the worker's user the right to do so, then start again."
        elif not self.root.is_dir():
            return self.missing(sop_instance_uid)
        else:
            code, cure = FaultCode.IO_FAILED, "Check the disk or the share."
        return self.fault(code, message, cure, sop_instance_uid)

    def missing(self, sop_instance_uid: str | None = None) -> TransferFault:
        return self.fault(
            FaultCode.FOLDER_MISSING,
            f"The folder {self.root} does not exist or is not the one that was there before.",
            "Create it or mount it: a node's own folder is never created by ADIT, so that a share which is not "
            "mounted is not filled locally.",
            sop_instance_uid,
        )

    def interrupted(self) -> TransferFault:
        return self.fault(
            FaultCode.INTERRUPTED, "The work on this folder was interrupted.", "Nothing: what was done is kept.", None
        )

    def of_doubts(self, doubts: Mapping[Doubt, int]) -> tuple[Fault, ...]:
        """What a look at the folder could not judge: a fault for what may not be read, else a warning."""
        told = []
        denied, damaged, links = (doubts.get(doubt, 0) for doubt in (Doubt.DENIED, Doubt.DAMAGED, Doubt.LINK))
        if denied:
            message = f"{denied} files or folders in the folder {self.root} may not be read; they may be of this study."
            cure = "Give the worker's user the right to read everything in it, then start again."
            told.append(self.fault(FaultCode.PERMISSION_DENIED, message, cure, None).fault)
        if damaged or links:
            message = (
                f"{damaged + links} files of the folder {self.root} look like DICOM but cannot be read ({damaged}), "
                f"or are symbolic links out of it ({links}); they may belong to this study."
            )
            cure = "Replace them by whole copies, or move what does not belong there out of the folder."
            told.append(self.fault(FaultCode.FETCHED_WITH_WARNING, message, cure, None).fault)
        return tuple(told)

    def fault(self, code: FaultCode, message: str, cure: str, sop_instance_uid: str | None) -> TransferFault:
        return TransferFault(
            Fault(code=code, message=message, cure=cure, node=self.node, sop_instance_uid=sop_instance_uid)
        )


Interrupted = Callable[[], None]
"""Raises TransferFault(INTERRUPTED) once the node was interrupted; called between instances and pieces."""
