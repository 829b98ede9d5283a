"""A worker killed by a signal from its node: another attempt goes on where it was."""

from __future__ import annotations

from adit.model.outcome import FaultCode
from tests.cluster.installation import Installation
from tests.cluster.kubernetes import eventually
from tests.cluster.processes import kill_processes
from tests.cluster.test_workers_and_cluster import codes, slow_job
from tests.samples import Study


def test_a_killed_worker_goes_on_where_it_was(installation: Installation, long_study: Study, slow_pacs: str) -> None:
    job = slow_job(installation, long_study, slow_pacs)
    pod = job.wait_pod("Running")
    eventually("something has arrived", lambda: job.installation.ledger.summary(job.id).stored >= 5)
    assert kill_processes(pod) >= 1
    job.wait("Complete")
    job.is_proven(long_study.study_instance_uid)
    assert FaultCode.LOST in codes(job)
