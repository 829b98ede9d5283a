"""Keys of objects: of UIDs and nothing else, the same in each attempt, never two instances under one."""

from __future__ import annotations

from datetime import date

from hypothesis import example, given
from hypothesis import strategies as st

from adit.dicom.folder.naming import JobFolder
from adit.dicom.payload import MemoryPayload, ReceivedInstance
from adit.dicom.s3.naming import key_of

JOB = JobFolder("stroke", date(2026, 11, 22), "jane")
UIDS = st.text(min_size=1, max_size=64)


def instance(study: str, series: str = "1.2.3", sop: str = "1.2.3.4") -> ReceivedInstance:
    return ReceivedInstance(study, series, "1.2.840.10008.5.1.4.1.1.2", sop, "1.2.840.10008.1.2.1", MemoryPayload(b""))


def test_a_key_tells_job_study_series_and_instance() -> None:
    assert key_of("in/", JOB, instance("1.2")) == "in/adit_stroke_20261122_jane/1.2/1.2.3/1.2.3.4.dcm"


def test_a_pseudonym_has_a_level_of_its_own() -> None:
    job = JobFolder("stroke", date(2026, 11, 22), "jane", "STROKE/001")
    assert key_of("", job, instance("1.2")) == "adit_stroke_20261122_jane/STROKE_001/1.2/1.2.3/1.2.3.4.dcm"


@given(UIDS, UIDS)
def test_whatever_the_uids_are_no_two_studies_meet_and_no_part_is_hidden_or_upwards(one: str, other: str) -> None:
    key = key_of("in/", JOB, instance(one))
    parts = key.split("/")
    assert len(parts) == 5
    assert all(part and not part.startswith(".") for part in parts)
    assert (key == key_of("in/", JOB, instance(other))) == (one == other)


@example("j" * 300, "o" * 300, "\u20ac" * 64)
@given(st.text(max_size=300), st.text(max_size=300), UIDS)
def test_a_key_is_never_longer_than_s3_allows(job: str, owner: str, uid: str) -> None:
    longest = JobFolder(job or "x", date(2026, 11, 22), owner, owner or None)
    assert len(key_of("p" * 256 + "/", longest, instance(uid, uid, uid)).encode()) <= 1024
