"""The bucket node: searched, read and written like any other node.

Made by `adit.dicom.opening`; called by `adit.transfer` and the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydicom import Dataset

from adit.dicom.folder.answers import answers
from adit.dicom.folder.naming import JobFolder
from adit.dicom.node import Deliver, FetchReport, Probe, Proof, Query, Stored, Wanted
from adit.dicom.payload import Spool
from adit.dicom.s3.bucket import Bucket
from adit.dicom.s3.catalogue import Catalogue, studies_of
from adit.dicom.s3.channel import S3Channel
from adit.dicom.s3.proof import prove
from adit.dicom.s3.retrieval import Retrieval
from adit.model.assignment import Share
from adit.model.outcome import Fault, FaultCode, TransferFault
from adit.model.s3 import S3

_STALE_AFTER: Final = 86_400.0  # seconds: no attempt writes one object for a day


class S3Node:
    """Implements `adit.dicom.node.Node`. `job` names the folder to write to; a source needs none.

    At most the share's associations are requests on their way at once, whatever is asked.
    """

    def __init__(
        self,
        name: str,
        s3: S3,
        share: Share,
        *,
        secrets: Path | None = None,
        spool: Spool | None = None,
        job: JobFolder | None = None,
    ) -> None:
        self._bucket = Bucket(name, s3, share, secrets)
        self._catalogue = Catalogue(self._bucket)
        self._spool = spool
        self._job = job
        self._cleared = False

    @property
    def name(self) -> str:
        return self._bucket.faults.node

    @property
    def can_verify(self) -> bool:
        return True

    @property
    def verifies_content(self) -> bool:
        return True

    def doubts(self) -> tuple[Fault, ...]:
        return self._bucket.faults.of_doubts(self._catalogue.doubts)

    def find(self, query: Query) -> Iterator[Dataset]:
        studies = list(studies_of(query.keys.get("StudyInstanceUID", "")))
        entries = self._catalogue.look(studies[0] if len(studies) == 1 else None)
        return answers(entries, query, self._catalogue.read_more)

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        entries = self._catalogue.look(wanted.study_instance_uid)
        return Retrieval(self._bucket, self._spool, self._catalogue.forget).run(entries, wanted, deliver)

    def open_store(self, sop_class_uids: Collection[str]) -> S3Channel:
        if self._job is None:
            raise ValueError(f"bucket node {self.name} was opened without a job to name its keys by")
        self._bucket.calls.check()
        if not self._cleared:
            self._cleared = True
            self._bucket.clear_uploads(f"{self._bucket.s3.root}{self._job.name}/", _STALE_AFTER)
        return S3Channel(self._bucket, self._job)

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        for _, proof in self._bucket.calls.ahead(stored, lambda one: prove(one, self._bucket), self._bucket.width):
            yield proof

    def probe(self) -> Probe:
        """Asks for the list's first line, and begins an upload that it takes back.

        Not where there is no bucket: some servers would make one for what is written to it.
        """
        s3 = self._bucket.s3
        detail = {"bucket": s3.bucket, "prefix": s3.prefix or "", "endpoint": s3.endpoint or "", "region": s3.region}
        detail = {name: value for name, value in detail.items() if value}
        services: list[str] = []
        refused: list[Fault] = []
        try:
            next(self._bucket.pages(page_size=1), None)
            services.append("Read")
        except TransferFault as fault:
            if fault.fault.code is FaultCode.FOLDER_MISSING:
                return Probe(reachable=False, detail=detail, fault=fault.fault)
            refused.append(fault.fault)
            detail["read"] = str(fault.fault.code)
        try:
            self._bucket.can_begin_upload(f"{s3.root}.adit-{uuid4().hex}.part")
            services.append("Write")
        except TransferFault as fault:
            refused.append(fault.fault)
            detail["write"] = str(fault.fault.code)
        if not services:
            return Probe(reachable=False, detail=detail, fault=refused[0])
        return Probe(reachable=True, services=tuple(services), detail=detail)

    def interrupt(self) -> None:
        self._bucket.calls.interrupt()
