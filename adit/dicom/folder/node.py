"""The folder node: a place on a disk that is searched, read and written like any other node.

Made by `adit.dicom.opening`; called by `adit.transfer` and the command line.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from pydicom import Dataset

from adit.dicom.folder.answers import answers
from adit.dicom.folder.catalogue import Catalogue, Entry
from adit.dicom.folder.channel import FolderChannel
from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.header import UnreadableError, read_header
from adit.dicom.folder.naming import JobFolder, StudyFacts
from adit.dicom.folder.placement import Placement
from adit.dicom.folder.proof import prove
from adit.dicom.folder.retrieval import Retrieval
from adit.dicom.node import Deliver, FetchReport, Probe, Proof, Query, Stored, Wanted
from adit.dicom.rate import TokenBucket
from adit.model.assignment import Share
from adit.model.outcome import Fault, TransferFault


class FolderNode:
    """Implements `adit.dicom.node.Node`. `job` names the folder to write to; a source needs none.

    Only the share's bytes per second matter here: there are no associations and no queries to count.
    """

    def __init__(self, name: str, path: Path, share: Share, job: JobFolder | None = None) -> None:
        self._faults = FolderFaults(name, path)
        self._catalogue = Catalogue(self._faults)
        self._placement = None if job is None else Placement(path, job)
        self._study: StudyFacts | None = None
        rate = share.bytes_per_second
        self._bucket = None if rate is None else TokenBucket(rate, rate, time.monotonic)
        self._halt = threading.Event()
        self._device: int | None = None  # of the root when it was first used

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
        self._require_root()
        return answers(self._catalogue.look(self._check), query, self._read_more)

    def fetch(self, wanted: Wanted, deliver: Deliver) -> FetchReport:
        self._require_root()
        entries = self._catalogue.look(self._check)
        return Retrieval(self._faults, self._throttle, self._check).run(entries, wanted, deliver)

    def open_store(self, sop_class_uids: Collection[str]) -> FolderChannel:
        if self._placement is None:
            raise ValueError(f"folder node {self.name} was opened without a job to name its folder by")
        self._check()
        self._require_root()
        try:
            self._placement.prepare()
        except OSError as error:
            raise self._faults.of(error, "make the job's folder in") from error
        return FolderChannel(self._faults, self._placement, self._study, self._throttle, self._check_place)

    def verify(self, study_instance_uid: str, stored: Sequence[Stored]) -> Iterator[Proof]:
        self._require_root()
        for one in stored:
            self._check()
            yield prove(one, self._faults)

    def probe(self) -> Probe:
        """Reads the folder's list and writes an empty file to it, which it removes."""
        root = self._faults.root
        try:
            self._require_root()
            with os.scandir(root) as listing:
                next(listing, None)
            free = shutil.disk_usage(root).free
        except OSError as error:
            return Probe(reachable=False, fault=self._faults.of(error, "list").fault)
        except TransferFault as fault:
            return Probe(reachable=False, fault=fault.fault)
        detail = {"path": str(root), "freeBytes": str(free)}
        trial = root / f".adit-{uuid4().hex}.part"
        try:
            trial.touch(exist_ok=False)
            trial.unlink()
        except OSError as error:
            return Probe(True, ("Read",), {**detail, "write": error.strerror or "refused"})
        return Probe(True, ("Read", "Write"), detail)

    def interrupt(self) -> None:
        self._halt.set()

    def _check(self) -> None:
        if self._halt.is_set():
            raise self._faults.interrupted()

    def _check_place(self) -> None:
        """Between pieces of a write: an unmounted share shows the disk beneath it."""
        self._check()
        self._require_root()

    def _require_root(self) -> None:
        try:
            status = self._faults.root.stat()
        except OSError as error:
            raise self._faults.of(error, "find") from error
        if not self._faults.root.is_dir():
            raise self._faults.missing()
        if self._device is None:
            self._device = status.st_dev
        elif self._device != status.st_dev:
            raise self._faults.missing()

    def _throttle(self, size: int) -> None:
        if self._bucket is not None and (seconds := self._bucket.take(size)) > 0:
            self._halt.wait(seconds)
            self._check()

    def _read_more(self, entry: Entry, keywords: tuple[str, ...]) -> Dataset:
        try:
            with entry.instance(self._faults).open() as reader:
                return read_header(reader, entry.description.transfer_syntax_uid, keywords).dataset
        except (OSError, UnreadableError, TransferFault):
            return Dataset()
