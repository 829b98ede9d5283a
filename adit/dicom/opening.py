"""From a DicomNode resource to the node itself. Called by the worker, the dispatcher's edge and the command line.

Each kind's modules are imported when the first of its kind is opened: a transfer between folders need
not wait for the network's.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from adit.dicom.node import Node
from adit.dicom.payload import Spool
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode, Dimse
from adit.model.dicom_web import DicomWeb

if TYPE_CHECKING:
    from adit.dicom.dimse.mailboxes import Mailboxes
    from adit.dicom.folder import JobFolder


def open_node(
    node: DicomNode,
    share: Share,
    *,
    secrets: Path | None = None,
    spool: Spool | None = None,
    job: JobFolder | None = None,
    mailboxes: Mailboxes | None = None,
) -> Node:
    """Opens nothing yet: connections are made by the calls, and stay within `share`.

    `secrets` holds one folder per Secret, for certificates and credentials; `spool` takes objects too big for memory
    (the system's temporary folder if absent); `job` names what a destination of files gets: a folder, or keys;
    `mailboxes` make known where a C-MOVE's objects are waited for (there is none without).
    """
    if node.spec.dimse is not None and node.spec.dicom_web is not None:
        return _two_faced(node.metadata.name, node.spec.dimse, node.spec.dicom_web, share, secrets, spool, mailboxes)
    if node.spec.dimse is not None:
        from adit.dicom.dimse.node import DimseNode

        return DimseNode(node.metadata.name, node.spec.dimse, share, secrets=secrets, spool=spool, mailboxes=mailboxes)
    if node.spec.dicom_web is not None:
        from adit.dicom.dicomweb.node import DicomWebNode

        return DicomWebNode(node.metadata.name, node.spec.dicom_web, share, secrets=secrets, spool=spool)
    if node.spec.s3 is not None:
        from adit.dicom.s3 import S3Node

        return S3Node(node.metadata.name, node.spec.s3, share, secrets=secrets, spool=spool, job=job)
    assert node.spec.folder is not None  # noqa: S101 - the model holds exactly one kind
    if (archive := node.spec.folder.archive) is not None:
        from adit.dicom.archive import ArchiveNode

        return ArchiveNode(node.metadata.name, Path(node.spec.folder.path), archive, share, job, secrets)
    from adit.dicom.folder import FolderNode

    return FolderNode(node.metadata.name, Path(node.spec.folder.path), share, job=job)


def _two_faced(
    name: str,
    dimse: Dimse,
    web: DicomWeb,
    share: Share,
    secrets: Path | None,
    spool: Spool | None,
    mailboxes: Mailboxes | None,
) -> Node:
    from adit.dicom.allowance import Allowance
    from adit.dicom.dicomweb.node import DicomWebNode
    from adit.dicom.dimse.node import DimseNode
    from adit.dicom.two_faced.node import TwoFacedNode

    allowance = Allowance(share, time.monotonic)
    return TwoFacedNode(
        name,
        (dimse, web),
        DimseNode(name, dimse, share, secrets=secrets, spool=spool, mailboxes=mailboxes, allowance=allowance),
        DicomWebNode(name, web, share, secrets=secrets, spool=spool, allowance=allowance),
    )
