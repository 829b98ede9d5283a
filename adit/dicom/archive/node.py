"""The node that makes archives. Made by `adit.dicom.opening`; called by `adit.transfer` and the command line."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from adit.dicom.archive.draft import Draft
from adit.dicom.archive.password import password
from adit.dicom.archive.proof import prove
from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.naming import JobFolder, StudyFacts
from adit.dicom.folder.probe import probe
from adit.dicom.folder.root import Root
from adit.dicom.node import Answer, Deliver, FetchReport, Probe, Proof, Query, Stored, Wanted
from adit.model.archive import Archive
from adit.model.assignment import Share
from adit.model.outcome import Fault, FaultCode, TransferFault


class ArchiveNode:
    """Implements `adit.dicom.node.Node` and `Sealing`: one archive in its life, of one study."""

    def __init__(
        self, name: str, path: Path, archive: Archive, share: Share, job: JobFolder | None, secrets: Path | None
    ) -> None:
        self._faults = FolderFaults(name, path)
        self._root = Root(self._faults, share)
        self._archive = archive
        self._job = job
        self._secrets = secrets
        self._study: StudyFacts | None = None
        self._lock = threading.Lock()
        self._draft: Draft | None = None

    @property
    def name(self) -> str:
        return self._faults.node

    @property
    def can_verify(self) -> bool:
        return True

    @property
    def verifies_content(self) -> bool:
        return True

    def doubts(self) -> tuple[Fault, ...]:
        return ()

    def announce(self, study: StudyFacts) -> None:
        """What is known of the study before its first instance is stored, for its folder's name."""
        self._study = study

    def find(self, query: Query) -> Iterator[Answer]:
        raise self._destination_only()

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        raise self._destination_only()

    def open_store(self, sop_class_uids: Collection[str]) -> Draft:
        if self._job is None:
            raise ValueError(f"node {self.name} was opened without a job to name its archive by")
        self._root.check()
        self._root.require()
        with self._lock:
            if self._draft is None:
                secret = password(self._archive, self._secrets, self._faults)
                self._draft = Draft(self._faults, self._root, self._job, self._study, self._archive.format, secret)
            self._draft.check()
            return self._draft

    def seal(self) -> None:
        if self._draft is None:
            raise ValueError(f"node {self.name} was given nothing to seal")
        self._draft.seal()

    def discard(self) -> None:
        if self._draft is not None:
            self._draft.discard()

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        self._root.require()
        secret = password(self._archive, self._secrets, self._faults)
        return prove(stored, self._archive.format, secret, self._faults, self._root.check)

    def probe(self) -> Probe:
        """The folder's, and whether there is a password."""
        found = probe(self._root, self._faults)
        if found.fault is None:
            try:
                password(self._archive, self._secrets, self._faults)
            except TransferFault as missing:
                return replace(found, fault=missing.fault)
        return found

    def interrupt(self) -> None:
        self._root.interrupt()

    def _destination_only(self) -> TransferFault:
        return self._faults.fault(
            FaultCode.SERVICE_NOT_OFFERED,
            "The node makes archives, so that it can be a destination only.",
            "Unpack the archives to a folder, and ask a DicomNode of that folder without folder.archive.",
            None,
        )
