"""WADO-RS (PS3.18 10.4): instances as the server keeps them, part by part, never decoded.

Called by `node`. Everything happens in the caller's thread: while `deliver` blocks we don't read, and TCP makes the
server wait. WADO-RS does not say how many are to come: the closing delimiter is its only word that all came, and
what it left out shows against what was listed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from adit.dicom.dicomweb.client import Answer, Client
from adit.dicom.dicomweb.multipart import CutShortError, MalformedError, MultipartReader, Part, boundary_of
from adit.dicom.dicomweb.part10 import UnusableError, receive
from adit.dicom.dicomweb.status import refusal
from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.dicom.payload import Spool
from adit.model.counted import counted
from adit.model.dicom_web import WebService
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "WADO-RS"
ACCEPT: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""As it is kept: without the parameter a server has to give Explicit VR Little Endian (PS3.18 8.7.3.5.2)."""
_ABSENT: Final = frozenset({404, 410})
_OF_THIS_ONE: Final = frozenset({400, 404, 409, 410, 500})
"""What a server may say of a single instance, while it gives others."""
_TOLD: Final = 20  # faults in a report; the failed UIDs are all in it


class Fetch:
    """One fetch in progress."""

    def __init__(self, client: Client, deliver: Deliver, spool: Spool | None) -> None:
        self._client = client
        self._server = client.server
        self._deliver = deliver
        self._spool = spool
        self._completed = 0
        self._failures: dict[str, Fault] = {}  # by SOP Instance UID
        self._said: list[Fault] = []  # about no single instance

    def run(self, wanted: Wanted) -> FetchReport:
        """Raises TransferFault when an answer breaks off, or `deliver` asks to stop."""
        if WebService.WADO not in self._server.web.services:
            raise self._server.fault(
                FaultCode.SERVICE_NOT_OFFERED,
                "The node offers no WADO-RS",
                "Add WADO-RS to the node's services if it does, or choose another source.",
            )
        for resource, uid in _resources(wanted):
            self._retrieve(resource, uid)
        if not self._completed and not self._failures and not self._said:
            self._said.append(self._nothing())
        return FetchReport(
            road=ROAD,
            completed=self._completed,
            failed=len(self._failures),
            warning=0,
            failed_sop_instance_uids=tuple(self._failures),
            faults=(*self._said, *self._failures.values())[:_TOLD],
        )

    def _retrieve(self, resource: tuple[str, ...], uid: str | None) -> None:
        """One resource: the study, a series, or the instance `uid`."""
        path = self._server.path(WebService.WADO, *resource)
        with self._client.exchange("GET", path, accept=ACCEPT) as answer:
            if answer.status in (200, 206):
                self._take_all(answer)
                if answer.status == 206:
                    self._said.append(self._partial())
            elif uid is not None and answer.status in _OF_THIS_ONE:
                self._failures[uid] = self._not_sent(uid, answer.status)
            elif answer.status in _ABSENT or answer.status == 204:
                self._said.append(self._nothing())
            else:
                raise TransferFault(refusal(self._server, answer.status, "the fetch", FaultCode.FETCH_FAILED))

    def _take_all(self, answer: Answer) -> None:
        content_type = answer.header("Content-Type")
        boundary = boundary_of(content_type)
        if boundary is None:
            kind = content_type.partition(";")[0].strip().lower()
            raise self._server.fault(
                FaultCode.FETCH_FAILED,
                "The node answered with something that is no multipart message of DICOM files"
                + (f", but {kind}" if kind in _KNOWN_KINDS else ""),
                "See that the node's url leads to a DICOMweb server and to no page for people.",
            )
        try:
            for part in MultipartReader(answer.pieces(), boundary).parts():
                self._take(part)
        except CutShortError as error:
            raise self._server.fault(
                FaultCode.ASSOCIATION_ABORTED,
                f"The node's answer was cut: {error}",
                "What is missing is asked for again; if it happens each time, look into the node's log.",
            ) from None
        except MalformedError as error:
            raise self._server.fault(
                FaultCode.FETCH_FAILED,
                f"The node's answer cannot be read, because {error}",
                "The server breaks RFC 2046; report it to its vendor.",
            ) from None

    def _take(self, part: Part) -> None:
        try:
            instance = receive(self._metered(part), part.announced, self._spool)
        except UnusableError as error:
            self._refuse(error)
            return
        except OSError as error:
            raise self._server.fault(
                FaultCode.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else FaultCode.IO_FAILED,
                f"An instance cannot be kept in the spool folder ({error.strerror})",
                "Make room in the worker's spool folder (ADIT_SPOOL).",
            ) from error
        try:
            self._deliver(instance)
        except TransferFault as refused:
            instance.close()
            if refused.fault.sop_instance_uid is None:
                raise
            self._failures[instance.sop_instance_uid] = refused.fault
            return
        self._completed += 1

    def _metered(self, part: Part) -> Iterator[memoryview]:
        for piece in part.content:
            self._client.meter(len(piece))
            yield piece

    def _refuse(self, error: UnusableError) -> None:
        fault = self._server.describe(
            FaultCode.INSTANCE_UNREADABLE if error.sop_instance_uid else FaultCode.FETCH_FAILED,
            f"The node sent an instance that cannot be taken: {error}",
            "Check the instance at its source.",
            instance=error.sop_instance_uid or None,
        )
        if error.sop_instance_uid:
            self._failures[error.sop_instance_uid] = fault
        else:
            self._said.append(fault)

    def _not_sent(self, uid: str, status: int) -> Fault:
        return self._server.describe(
            FaultCode.FETCH_FAILED,
            f"The node does not send the instance (HTTP {status})",
            "Look for this moment in the node's log; its file may be offline or damaged there.",
            instance=uid,
        )

    def _partial(self) -> Fault:
        return self._server.describe(
            FaultCode.INCOMPLETE,
            f"The node says that it sent only a part; {counted(self._completed, 'instance')} came (HTTP 206)",
            "What is missing is asked for again; look for this moment in the node's log.",
        )

    def _nothing(self) -> Fault:
        return self._server.describe(
            FaultCode.NOTHING_RECEIVED,
            "The node has nothing of what was asked for, or sent none of it",
            "Check that the study is still there and online; a busy archive may need a moment.",
        )


_KNOWN_KINDS: Final = frozenset(
    {"text/html", "text/plain", "application/json", "application/dicom+json", "application/dicom", "application/zip"}
)
"""Content types that a message may repeat: what else a server writes there is its own."""


def _resources(wanted: Wanted) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """What to ask for, each with the UID of the instance where it is one."""
    study = ("studies", wanted.study_instance_uid)
    if wanted.series_instance_uid is None and wanted.sop_instance_uids is None:
        yield study, None
        return
    if wanted.series_instance_uid is None:
        raise ValueError("named instances are fetched series by series (PS3.18 10.4.1): their series is missing")
    series = (*study, "series", wanted.series_instance_uid)
    if wanted.sop_instance_uids is None:
        yield series, None
        return
    for uid in wanted.sop_instance_uids:
        yield (*series, "instances", uid), uid
