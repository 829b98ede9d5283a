"""From a DicomNode resource to the node itself. Called by the worker, the dispatcher's edge and the command line.

Each kind's modules are imported when the first of its kind is opened: a transfer between folders need
not wait for the network's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adit.dicom.node import Node
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode

if TYPE_CHECKING:
    from adit.dicom.folder import JobFolder


def open_node(
    node: DicomNode,
    share: Share,
    *,
    secrets: Path | None = None,
    spool: Path | None = None,
    job: JobFolder | None = None,
) -> Node:
    """Opens nothing yet: connections are made by the calls, and stay within `share`.

    `secrets` holds one folder per Secret, for nodes with TLS; `spool` takes objects too big for memory
    (the system's temporary folder if absent); `job` names the folder that a destination of files gets.
    """
    if node.spec.dimse is not None:
        from adit.dicom.dimse.node import DimseNode

        return DimseNode(node.metadata.name, node.spec.dimse, share, secrets=secrets, spool=spool)
    from adit.dicom.folder import FolderNode

    assert node.spec.folder is not None  # noqa: S101 - the model holds exactly one kind
    return FolderNode(node.metadata.name, Path(node.spec.folder.path), share, job=job)
