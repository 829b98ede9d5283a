"""The witness sees what it is there for: a claim that is not true, and each time that something is stored."""

from __future__ import annotations

from tests.cluster.installation import Installation
from tests.cluster.kubernetes import eventually
from tests.cluster.witness import Witness, last_change
from tests.samples import Study


def test_the_witness_sees_a_green_that_is_wrong(installation: Installation, many_studies: list[Study]) -> None:
    study = many_studies[0]
    since = last_change(installation.destination)
    job = installation.job(study.study_instance_uid)
    with Witness(job, [study.study_instance_uid], since) as witness:
        job.wait("Complete")
        looks = witness.looks
        eventually("the witness has looked again", lambda: witness.looks > looks + 1)
        assert witness.wrongs == []
        assert witness.stored == dict.fromkeys(study.sop_instance_uids, 1)
        lost = min(study.sop_instance_uids)
        installation.destination.delete_instance(lost)
        eventually("the witness has seen it", lambda: len(witness.wrongs) >= 3)
    assert f"Complete with 3 of {len(study.instances)} instances" in witness.wrongs
    assert f"verified in the ledger, but not there: ['{lost}']" in witness.wrongs
    assert "1 tasks succeeded with 3 instances there" in witness.wrongs


def test_the_witness_counts_what_is_stored_twice(installation: Installation, many_studies: list[Study]) -> None:
    study = many_studies[1]
    since = last_change(installation.destination)
    job = installation.job(study.study_instance_uid)
    with Witness(job, [study.study_instance_uid], since) as witness:
        job.wait("Complete")
        eventually("all are counted", lambda: set(witness.stored) == study.sop_instance_uids)
        installation.destination.upload(next(study.files()))
        again = str(study.instances[0].SOPInstanceUID)
        eventually("the repeat is counted", lambda: witness.stored[again] == 2)
    assert witness.wrongs == []
