"""What a bucket holds: one entry per DICOM object, by its header. Asked by `node` for find and fetch.

A list costs a request for each thousand objects, a header one for each object: so headers are read once a process, and
again only when an object's size or ETag changed; and no more of them than the node allows.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from pydicom import Dataset

from adit.dicom.file_meta import NotDicomError
from adit.dicom.folder.description import Description, describe, looks_like_dicom
from adit.dicom.folder.faults import Doubt
from adit.dicom.folder.header import UnreadableError, read_header
from adit.dicom.s3.bucket import Bucket, Listed
from adit.dicom.s3.faults import status_of
from adit.dicom.s3.ranged_file import RangedFile
from adit.model.outcome import FaultCode, TransferFault

_log = structlog.get_logger(__name__)

_FRESH: Final = 30.0  # seconds: a plan asks for the study, each of its series, and then fetches
_LISTED: Final = 100  # keys that may be listed for each header that may be read: a tenth of what those cost


@dataclass(frozen=True, slots=True)
class Entry:
    """One object that holds an instance."""

    listed: Listed
    description: Description

    def __getitem__(self, keyword: str) -> str:
        return self.description[keyword]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of an object; `entry` is None when it holds no instance, with a doubt when it may."""

    listed: Listed
    entry: Entry | None = None
    doubt: Doubt | None = None


class Catalogue:
    """The entries below the node's prefix. Keys with a part that begins with a dot are left out; safe for threads."""

    def __init__(self, bucket: Bucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock
        self._lock = threading.Lock()
        self._list: list[Listed] = []
        self._list_until: float | None = None
        self._seen: dict[str, _Seen] = {}
        self.doubts: Counter[Doubt] = Counter()  # what the last look had to leave out

    def look(self, study_instance_uid: str | None = None) -> list[Entry]:
        """All entries in the order of their keys; of one study only, where the keys tell.

        Raises TransferFault when the bucket cannot be read, and TOO_MANY_OBJECTS. What cannot be read in it is
        counted in `doubts` and said in the log.
        """
        with self._lock:
            listed = [each for each in self._listing() if self._belongs(each, study_instance_uid)]
            if len(listed) > self._bucket.s3.max_objects:
                raise self._too_many(f"more than {self._bucket.s3.max_objects}")
            known = {key: seen for each in listed if (seen := self._known(each)) is not None for key in (each.key,)}
            unknown = [each for each in listed if each.key not in known]
            for each, seen in self._bucket.calls.ahead(unknown, self._look_at, self._bucket.width):
                if seen is not None:
                    known[each.key] = self._seen[each.key] = seen
            seen_now = [known[each.key] for each in listed if each.key in known]
            doubts = Counter(seen.doubt for seen in seen_now if seen.doubt is not None)
            if doubts and doubts != self.doubts:
                _log.warning("unreadable_objects", node=self._bucket.faults.node, count=doubts.total())
            self.doubts = doubts
            return [seen.entry for seen in seen_now if seen.entry is not None]

    def forget(self) -> None:
        """What was listed is not so any more: the next look lists anew."""
        self._list_until = None

    def read_more(self, entry: Entry, keywords: tuple[str, ...]) -> Dataset:
        """Further attributes; none of an object that cannot be read any more."""
        file = self._open(entry.listed)
        try:
            file.seek(entry.description.offset)
            syntax = entry.description.transfer_syntax_uid
            return read_header(cast(BinaryIO, file), syntax, keywords, each_fragment=False).dataset
        except (OSError, UnreadableError, ClientError, BotoCoreError):
            if isinstance(file.failure, TransferFault):
                raise file.failure from None
            return Dataset()

    def _listing(self) -> list[Listed]:
        now = self._clock()
        if self._list_until is None or now > self._list_until:
            found: list[Listed] = []
            for page in self._bucket.pages():
                found += (each for each in page if _may_hold_an_instance(each.key))
                if len(found) > _LISTED * self._bucket.s3.max_objects:
                    raise self._too_many(f"more than {_LISTED * self._bucket.s3.max_objects}")
            self._list, self._list_until = found, now + _FRESH
            present = {each.key for each in found}
            self._seen = {key: seen for key, seen in self._seen.items() if key in present}
        return self._list

    def _belongs(self, listed: Listed, study_instance_uid: str | None) -> bool:
        if study_instance_uid is None or not self._bucket.s3.study_in_key:
            return True
        return study_instance_uid in listed.key.split("/")

    def _known(self, listed: Listed) -> _Seen | None:
        seen = self._seen.get(listed.key)
        return seen if seen is not None and seen.listed == listed and seen.doubt is not Doubt.DENIED else None

    def _look_at(self, listed: Listed) -> _Seen | None:
        """What the object is; None when it went away or changed meanwhile. Raises TransferFault."""
        file = self._open(listed)
        try:
            description = describe(cast(BinaryIO, file), each_fragment=False)
        except (NotDicomError, UnreadableError, ClientError, BotoCoreError) as error:
            if file.failure is not None:
                return self._unread(listed, file.failure)
            plain = isinstance(error, NotDicomError) and not looks_like_dicom(listed.key, file.start)
            return _Seen(listed, doubt=None if plain else Doubt.DAMAGED)
        return _Seen(listed, None if description is None else Entry(listed, description))

    def _unread(self, listed: Listed, error: Exception) -> _Seen | None:
        if isinstance(error, ClientError) and status_of(error) in (404, 412):
            self.forget()
            return None
        if isinstance(error, ClientError) and status_of(error) == 403:
            return _Seen(listed, doubt=Doubt.DENIED)
        raise self._bucket.faults.of(error, "read an object's header in", FaultCode.QUERY_FAILED)

    def _open(self, listed: Listed) -> RangedFile:
        return RangedFile(listed.size, lambda start, count: self._bucket.read(listed, start, count))

    def _too_many(self, how_many: str) -> TransferFault:
        prefix = f" below {self._bucket.s3.root}" if self._bucket.s3.root else ""
        return self._bucket.faults.fault(
            FaultCode.TOO_MANY_OBJECTS,
            f"A search would have to look at {how_many} objects of {self._bucket.faults.where}{prefix}.",
            "Narrow s3.prefix, raise s3.maxObjects, or set s3.studyInKey if the keys name their studies.",
        )


def _may_hold_an_instance(key: str) -> bool:
    """Not what consoles make for empty folders, and nothing hidden."""
    return not key.endswith("/") and not any(part.startswith(".") for part in key.split("/"))


def studies_of(value: str) -> Iterator[str]:
    """The UIDs that a query's StudyInstanceUID names; none where it names no one in particular."""
    uids = [uid for uid in value.strip().split("\\") if uid]
    if uids and not any("*" in uid or "?" in uid for uid in uids):
        yield from uids
