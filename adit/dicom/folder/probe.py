"""What may be done in a node's folder. Called by `node`, and by the node of archives."""

from __future__ import annotations

import os
import shutil
from uuid import uuid4

from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.root import Root
from adit.dicom.node import Probe
from adit.model.outcome import TransferFault


def probe(root: Root, faults: FolderFaults) -> Probe:
    """Reads the folder's list and writes an empty file to it, which it removes."""
    try:
        root.require()
        with os.scandir(root.path) as listing:
            next(listing, None)
        free = shutil.disk_usage(root.path).free
    except OSError as error:
        return Probe(reachable=False, fault=faults.of(error, "list").fault)
    except TransferFault as fault:
        return Probe(reachable=False, fault=fault.fault)
    detail = {"path": str(root.path), "freeBytes": str(free)}
    trial = root.path / f".adit-{uuid4().hex}.part"
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        return Probe(True, ("Read",), {**detail, "write": error.strerror or "refused"})
    return Probe(True, ("Read", "Write"), detail)
