"""Whether a file that was stored is there, whole and unchanged: read again from the disk. Called by `node.verify`."""

from __future__ import annotations

from pathlib import PurePosixPath

from adit.dicom.folder.channel import Content, held_by
from adit.dicom.folder.faults import FolderFaults
from adit.dicom.node import Proof, Stored
from adit.model.outcome import FaultCode


def prove(stored: Stored, faults: FolderFaults) -> Proof:
    """Compares the file at `stored.location` with size, digest and transfer syntax as delivered.

    Raises TransferFault when the folder itself is gone or unreadable, which proves nothing either way.
    """
    uid = stored.sop_instance_uid
    place = PurePosixPath(stored.location or "..")
    if place.is_absolute() or ".." in place.parts:
        return _absent(uid, "It is not known where the instance was written", faults)
    try:
        there = held_by(faults.root / place)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if not faults.root.is_dir():
            raise faults.missing() from error
        return _absent(uid, "The file of an instance that was written is not there any more", faults)
    except OSError as error:
        raise faults.of(error, "read an instance again from", uid) from error
    if there is None:
        return _absent(uid, "The file of an instance is damaged", faults)
    written = Content(stored.transfer_syntax_uid, stored.size, stored.sha256)
    if (there.sop_instance_uid, there.content) != (uid, written):
        return _absent(uid, "The file of an instance is not the one that was written", faults)
    return Proof(uid, present=True)


def _absent(uid: str, what: str, faults: FolderFaults) -> Proof:
    cure = "Let nobody change or move files during a transfer."
    fault = faults.fault(FaultCode.NOT_PROVEN, f"{what}.", cure, uid).fault
    return Proof(uid, present=False, fault=fault)
