"""The folder node: a place on a disk that is searched, read and written like any other node.

Made by `adit.dicom.opening`; called by `adit.transfer` and the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pydicom import Dataset

from adit.dicom.folder.answers import answers
from adit.dicom.folder.catalogue import Catalogue, Entry
from adit.dicom.folder.channel import FolderChannel
from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.header import UnreadableError, read_header
from adit.dicom.folder.naming import JobFolder, StudyFacts
from adit.dicom.folder.placement import Placement
from adit.dicom.folder.probe import probe
from adit.dicom.folder.proof import prove
from adit.dicom.folder.retrieval import Retrieval
from adit.dicom.folder.root import Root
from adit.dicom.node import Deliver, FetchReport, Probe, Proof, Query, Stored, Wanted
from adit.model.assignment import Share
from adit.model.outcome import Fault, TransferFault


class FolderNode:
    """Implements `adit.dicom.node.Node`. `job` names the folder to write to; a source needs none."""

    def __init__(self, name: str, path: Path, share: Share, job: JobFolder | None = None) -> None:
        self._faults = FolderFaults(name, path)
        self._catalogue = Catalogue(self._faults)
        self._placement = None if job is None else Placement(path, job)
        self._study: StudyFacts | None = None
        self._root = Root(self._faults, share)

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
        return self._faults.of_doubts(self._catalogue.doubts)

    def announce(self, study: StudyFacts) -> None:
        """What is known of the study before its first instance is stored, for its folder's name."""
        self._study = study

    def find(self, query: Query) -> Iterator[Dataset]:
        self._root.require()
        return answers(self._catalogue.look(self._root.check), query, self._read_more)

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        self._root.require()
        entries = self._catalogue.look(self._root.check)
        return Retrieval(self._faults, self._root.throttle, self._root.check).run(entries, wanted, deliver)

    def open_store(self, sop_class_uids: Collection[str]) -> FolderChannel:
        if self._placement is None:
            raise ValueError(f"folder node {self.name} was opened without a job to name its folder by")
        self._root.check()
        self._root.require()
        try:
            self._placement.prepare()
        except OSError as error:
            raise self._faults.of(error, "make the job's folder in") from error
        return FolderChannel(self._faults, self._placement, self._study, self._root.throttle, self._root.check_place)

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        self._root.require()
        for one in stored:
            self._root.check()
            yield prove(one, self._faults)

    def probe(self) -> Probe:
        return probe(self._root, self._faults)

    def interrupt(self) -> None:
        self._root.interrupt()

    def _read_more(self, entry: Entry, keywords: tuple[str, ...]) -> Dataset:
        try:
            with entry.instance(self._faults).open() as reader:
                return read_header(reader, entry.description.transfer_syntax_uid, keywords).dataset
        except (OSError, UnreadableError, TransferFault):
            return Dataset()
