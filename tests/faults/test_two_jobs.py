"""Two jobs that send one study to one PACS at the same moment, each in its own form: only one form can arrive."""

from __future__ import annotations

from adit.model.state import JobState
from tests.faults.system import System, dimse
from tests.peers import ScriptedSCP
from tests.samples import ct_study

STUDY = ct_study(4, seed="two-jobs")


def test_what_the_other_job_has_sent_proves_nothing(system: System) -> None:
    """Else both find the destination empty, and each is proven by the other's UIDs, too."""
    with (
        ScriptedSCP(STUDY.instances, aet="SOURCE") as source,
        ScriptedSCP(aet="DESTINATION") as destination,
        system.dispatching(),
    ):
        nodes = dimse("pacs", source), dimse("archive", destination)
        trials = ({"protocolID": name, "protocolName": name} for name in "ab")
        jobs = [system.job(*nodes, STUDY, name=trial["protocolID"], trial=trial) for trial in trials]
        assert {job.wait(120).state for job in jobs} == {JobState.SUCCESS, JobState.WARNING}
