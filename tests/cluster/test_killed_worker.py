"""A worker killed by a signal from its node: another attempt goes on where it was, and nobody is named for it."""

from __future__ import annotations

from typing import Any

import pytest

from adit.model.outcome import FaultCode
from tests.cluster.installation import Installation
from tests.cluster.kubernetes import eventually
from tests.cluster.patient_scan import names_nobody
from tests.cluster.processes import kill_processes
from tests.cluster.test_workers_and_cluster import codes, slow_job
from tests.samples import Study


@pytest.mark.usefixtures("witnessed")
def test_a_killed_worker_goes_on_where_it_was(installation: Installation, long_study: Study, slow_pacs: str) -> None:
    job = slow_job(installation, long_study, slow_pacs)
    pod = job.wait_pod("Running")
    eventually("something has arrived", lambda: job.installation.ledger.summary(job.id).stored >= 5)
    assert kill_processes(pod) >= 1
    job.wait("Complete")
    job.is_proven(long_study.study_instance_uid)
    assert FaultCode.LOST in codes(job)
    (failed,) = [each for each in job.pods() if each["status"]["phase"] == "Failed"]
    assert failed["metadata"]["uid"] == pod["metadata"]["uid"]  # left to be looked at
    (operator,) = installation.pods("operator")
    assert kill_processes(operator) >= 1  # so that there is a log of before
    eventually("another leads", lambda: leads_again(installation, operator))
    seen = names_nobody(installation, [long_study])
    assert f"{operator['metadata']['name']}/operator" in seen.previous


def leads_again(installation: Installation, before: Any) -> bool:
    """The pod's next process, which has its name."""
    (pod,) = installation.running("operator")
    (state,) = pod["status"]["containerStatuses"]
    restarted = state["containerID"] != before["status"]["containerStatuses"][0]["containerID"]
    return bool(restarted and state["ready"] and installation.leader() == pod["metadata"]["name"])
