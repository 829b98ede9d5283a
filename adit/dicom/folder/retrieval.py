"""Fetches from a folder: which files a request means, and their delivery one by one. Called by `node.fetch`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from adit.dicom.folder.answers import AnEntry
from adit.dicom.folder.catalogue import Entry
from adit.dicom.folder.faults import FolderFaults, Interrupted
from adit.dicom.folder.file_instance import FileInstance
from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.model.counted import counted
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "Folder"
_TOLD: Final = 20  # faults in a report; the failed UIDs are all in it


class Retrieval:
    """One fetch."""

    def __init__(self, faults: FolderFaults, throttle: Callable[[int], None], interrupted: Interrupted) -> None:
        self._faults = faults
        self._throttle = throttle
        self._interrupted = interrupted

    def run(self, entries: Iterable[Entry], wanted: Wanted, deliver: Deliver) -> FetchReport:
        """Raises TransferFault when `deliver` does so without naming an instance, or on an interrupt."""
        chosen = choose(entries, wanted)
        completed, failures = 0, {}
        misnamed: list[str] = []
        for uid, copies in chosen.items():
            self._interrupted()
            try:
                instance = self._the_one(uid, copies)
                self._throttle(instance.size)
                deliver(instance)
                completed += 1
                misnamed += [uid] * copies[0].description.misnamed
            except TransferFault as fault:
                if fault.fault.sop_instance_uid is None:
                    raise
                failures[uid] = fault.fault
        for uid in wanted.sop_instance_uids or ():
            if uid not in chosen:
                failures[uid] = self._gone(uid)
        return FetchReport(
            road=ROAD,
            completed=completed,
            failed=len(failures),
            warning=0,
            failed_sop_instance_uids=tuple(failures),
            faults=(*told_of(misnamed, self._faults.fault), *failures.values())[:_TOLD]
            or (() if chosen else (self._nothing(),)),
        )

    def _the_one(self, uid: str, copies: list[Entry]) -> FileInstance:
        """A file of the instance; of several, any, if they are copies of each other."""
        first = copies[0].instance(self._faults)
        if copies[0].description.truncated:
            raise self._faults.fault(
                FaultCode.INSTANCE_UNREADABLE,
                "The file of an instance ends before its pixel data do.",
                "Replace it by a whole copy.",
                uid,
            )
        if len(copies) > 1 and len({self._digest(copy) for copy in copies}) > 1:
            raise self._faults.fault(
                FaultCode.INSTANCE_CONFLICT,
                f"The folder has {len(copies)} files with this SOP Instance UID, and their content differs.",
                "Keep the right one and remove the others.",
                uid,
            )
        return first

    def _digest(self, entry: Entry) -> str:
        """Of the transfer syntax and the data set; the file meta may differ otherwise."""
        digest = hashlib.sha256(entry.description.transfer_syntax_uid.encode())
        try:
            with entry.instance(self._faults).open() as reader:
                while piece := reader.read(2**20):
                    digest.update(piece)
        except OSError as error:
            raise self._faults.of(error, "read an instance from", entry["SOPInstanceUID"]) from error
        return digest.hexdigest()

    def _gone(self, uid: str) -> Fault:
        cure = "Let nobody change or move files during a transfer."
        return self._faults.fault(FaultCode.FETCH_FAILED, "The folder has no file of this instance.", cure, uid).fault

    def _nothing(self) -> Fault:
        message = f"The folder {self._faults.root} has no file of what was asked for."
        return self._faults.fault(FaultCode.NOTHING_RECEIVED, message, "Check the selection.", None).fault


def told_of(misnamed: Sequence[str], fault: Callable[[FaultCode, str, str, str], TransferFault]) -> tuple[Fault, ...]:
    """A warning of the files whose two parts name different instances, or different kinds of them."""
    if not misnamed:
        return ()
    message = (
        f"The file meta information of {counted(len(misnamed), 'file')} names another SOP class or instance than the "
        "data set; what the data set names was taken."
    )
    cure = "Have them written anew by what made them (this is the first), and see that their UIDs are theirs."
    return (fault(FaultCode.FETCHED_WITH_WARNING, message, cure, misnamed[0]).fault,)


def choose(entries: Iterable[AnEntry], wanted: Wanted) -> dict[str, list[AnEntry]]:
    """The files of each instance that is wanted, in the catalogue's order."""
    named = None if wanted.sop_instance_uids is None else set(wanted.sop_instance_uids)
    chosen: dict[str, list[AnEntry]] = {}
    for entry in entries:
        if entry["StudyInstanceUID"] != wanted.study_instance_uid:
            continue
        if wanted.series_instance_uid not in (None, entry["SeriesInstanceUID"]):
            continue
        if named is None or entry["SOPInstanceUID"] in named:
            chosen.setdefault(entry["SOPInstanceUID"], []).append(entry)
    return chosen
