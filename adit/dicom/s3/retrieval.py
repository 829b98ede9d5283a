"""Fetches from a bucket: several objects on their way at once, delivered one by one in order. Called by `node.fetch`.

Each is taken as a whole first, in memory or the spool: what is delivered was not cut short, and has not changed since
it was listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from adit.dicom.folder.retrieval import choose, told_of
from adit.dicom.node import Deliver, FetchReport, Wanted
from adit.dicom.payload import PayloadWriter, ReceivedInstance, Spool
from adit.dicom.s3.bucket import Bucket
from adit.dicom.s3.catalogue import Entry
from adit.dicom.s3.faults import status_of
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "S3"
_SPOOL_ABOVE: Final = 4 * 2**20  # bytes; several are held at once
_TOLD: Final = 20  # faults in a report; the failed UIDs are all in it

_Group = tuple[str, list[Entry]]


class Retrieval:
    """One fetch. `changed` is called when an object is not what was listed any more."""

    def __init__(self, bucket: Bucket, spool: Spool | None, changed: Callable[[], None]) -> None:
        self._bucket = bucket
        self._spool = spool
        self._changed = changed

    def run(self, entries: Iterable[Entry], wanted: Wanted, deliver: Deliver) -> FetchReport:
        """Raises TransferFault when `deliver` does so without naming an instance, or the bucket fails as a whole."""
        chosen = choose(entries, wanted)
        completed, failures = 0, {}
        misnamed: list[str] = []
        groups: Iterable[_Group] = chosen.items()
        for (uid, copies), got in self._bucket.calls.ahead(groups, self._get, self._bucket.width, _discard):
            try:
                if isinstance(got, Fault):
                    raise TransferFault(got)
                deliver(got)
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
            faults=(*told_of(misnamed, self._bucket.faults.fault), *failures.values())[:_TOLD]
            or (() if chosen else (self._nothing(),)),
        )

    def _get(self, group: _Group) -> ReceivedInstance | Fault:
        """The instance, or what is wrong with it. Raises TransferFault for what is wrong with more than it."""
        uid, copies = group
        try:
            self._judge(uid, copies)
            return self._download(copies[0])
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and status_of(error) in (404, 412):
                self._changed()
            fault = self._bucket.faults.of(error, "read an instance from", FaultCode.FETCH_FAILED, uid)
        except TransferFault as raised:
            fault = raised
        if fault.fault.sop_instance_uid is None:
            raise fault
        return fault.fault

    def _judge(self, uid: str, copies: list[Entry]) -> None:
        """Of several objects of one instance any will do, if they are copies of each other."""
        if copies[0].description.truncated:
            raise self._bucket.faults.fault(
                FaultCode.INSTANCE_UNREADABLE,
                "The object of an instance ends before its pixel data do.",
                "Replace it by a whole copy.",
                uid,
            )
        if (
            len({(copy.listed.etag, copy.listed.size) for copy in copies}) > 1
            and len(set(map(self._digest, copies))) > 1
        ):
            raise self._bucket.faults.fault(
                FaultCode.INSTANCE_CONFLICT,
                f"The bucket has {len(copies)} objects with this SOP Instance UID, and their content differs.",
                "Keep the right one and remove the others.",
                uid,
            )

    def _digest(self, entry: Entry) -> str:
        """Of the transfer syntax and the data set; the file meta may differ otherwise."""
        digest = hashlib.sha256(entry.description.transfer_syntax_uid.encode())
        self._bucket.stream(entry.listed, entry.description.offset, digest.update)
        return digest.hexdigest()

    def _download(self, entry: Entry) -> ReceivedInstance:
        writer = PayloadWriter(self._spool, _SPOOL_ABOVE)
        try:
            self._bucket.stream(entry.listed, entry.description.offset, writer.write)
            payload = writer.finish()
        except OSError as error:
            writer.discard()
            raise self._bucket.faults.fault(
                FaultCode.DISK_FULL,
                f"The spool folder did not take an instance ({error.strerror or type(error).__name__}).",
                "Make room there, or move it: ADIT_SPOOL.",
            ) from error
        except BaseException:
            writer.discard()
            raise
        return ReceivedInstance(
            study_instance_uid=entry["StudyInstanceUID"],
            series_instance_uid=entry["SeriesInstanceUID"],
            sop_class_uid=entry["SOPClassUID"],
            sop_instance_uid=entry["SOPInstanceUID"],
            transfer_syntax_uid=entry.description.transfer_syntax_uid,
            payload=payload,
        )

    def _gone(self, uid: str) -> Fault:
        cure = "Let nobody change or delete objects during a transfer."
        return self._bucket.faults.fault(
            FaultCode.FETCH_FAILED, "The bucket has no object of this instance.", cure, uid
        ).fault

    def _nothing(self) -> Fault:
        message = f"There is no object of what was asked for in {self._bucket.faults.where}."
        return self._bucket.faults.fault(FaultCode.NOTHING_RECEIVED, message, "Check the selection.").fault


def _discard(got: ReceivedInstance | Fault) -> None:
    if isinstance(got, ReceivedInstance):
        got.close()
