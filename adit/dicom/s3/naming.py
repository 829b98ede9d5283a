"""Keys of objects at a destination. Pure; used by `channel`.

<prefix>/adit_<job>_<YYYYMMDD>_<owner>/<pseudonym>/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm

As in a folder, but UIDs in place of a patient's id, a study's date and a series' words, and no level for the patient
without a pseudonym: a key stands in URLs, in access logs and in inventories, where no patient may be named. So a key
is known before anything is asked or written, and no two studies can have the same.
"""

from __future__ import annotations

from typing import Final

from adit.dicom.folder.naming import JobFolder, distinct, safe_name
from adit.dicom.node import Instance

_LONGEST: Final = 64
"""Bytes of a UID (PS3.5, 6.2). With the longest prefix, job and pseudonym a key stays below S3's 1,024 bytes."""


def key_of(root: str, job: JobFolder, instance: Instance) -> str:
    """The same in each attempt of the job."""
    pseudonym = () if job.pseudonym is None else (safe_name(job.pseudonym),)
    uids = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    return f"{root}{'/'.join((job.name, *pseudonym, *map(_part, uids)))}.dcm"


def _part(uid: str) -> str:
    """The UID; of one that cannot stand in a key, or is none by its length, something like it that no other has."""
    name = safe_name(uid)
    short = name.encode()[:_LONGEST].decode(errors="ignore")
    return short if short == uid else distinct(short, uid)
