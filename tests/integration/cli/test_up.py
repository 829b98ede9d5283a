"""`adit apply`, `up`, `status`, `suspend`, `resume`, `cancel`: a system that keeps running, steered from outside."""

from __future__ import annotations

import signal

from adit.ledger.ledger import Ledger
from adit.ledger.records import JobSummary
from adit.model.state import JobState
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import Hospital, job
from tests.peers.server_process import wait_until
from tests.samples import ct_study


def summary(ledger: Ledger, name: str) -> JobSummary:
    record = ledger.job(("default", name))
    assert record is not None
    return ledger.summary(record.id)


def is_closed(ledger: Ledger, name: str) -> bool:
    record = ledger.job(("default", name))
    return record is not None and record.ended_at is not None


def test_jobs_are_applied_steered_and_shown(adit: Adit, orthancs: Hospital, ledger: Ledger) -> None:
    quick, slow = ct_study(2, seed="up-quick"), ct_study(40, seed="up-slow", size=160)
    orthancs.source.upload(*quick.files(), *slow.files())
    up = adit.start("up")

    # a job may come before its nodes: it waits for them
    applied = adit("apply", adit.write("jobs.yaml", job("quick", quick, suspend=True) + job("slow", slow)))
    assert applied.out == "transferjob.adit.dev/quick created\ntransferjob.adit.dev/slow created\n"
    assert "Waiting: waits for DicomNode hospital." in adit("status", "slow").out
    nodes = adit("apply", adit.write("nodes.yaml", orthancs.nodes(limits={"bytesPerSecond": 100_000})))
    assert nodes.out.splitlines()[0] == "dicomnode.adit.dev/hospital created"
    wait_until(lambda: summary(ledger, "slow").stored > 0, "an instance of the slow job has been stored", 60)

    assert adit("cancel", "slow").out == "transferjob.adit.dev/slow configured\n"
    wait_until(lambda: summary(ledger, "slow").state.ended, "the slow job is cancelled", 60)
    wait_until(lambda: is_closed(ledger, "slow"), "it is closed", 60)
    assert "has finished: nothing is left to stop" in adit("suspend", "slow").err
    told = adit("suspend", "slow", KUBERNETES_SERVICE_HOST="10.0.0.1").err
    assert 'kubectl -n default patch transferjob slow --type=merge -p \'{"spec": {"suspend": true}}\'' in told
    assert summary(ledger, "slow").state is JobState.CANCELED
    refused = adit("resume", "slow")
    assert (refused.code, refused.out) == (0, "transferjob.adit.dev/slow unchanged\n")

    assert "Waiting: suspended." in adit("status", "quick").out
    assert adit("resume", "default/quick").code == 0
    watched = adit("status", "quick", "--watch")
    assert watched.code == 0
    assert summary(ledger, "quick").state is JobState.SUCCESS

    stopped = adit.end(up, signal.SIGTERM)
    assert stopped.code == 0, stopped.err
    assert not ledger.running()

    jobs = adit("status", "-o", "json").json
    assert {each["name"]: each["state"] for each in jobs} == {"slow": "Canceled", "quick": "Success"}
    one = adit("status", "quick", "--events")
    assert "2/2" in one.out
    assert "All 2 instances have arrived" in one.out
    proof = adit("manifest", "quick").json
    assert proof["job"]["verified"] == 2
    unknown = adit("manifest", "quack")
    assert unknown.code == 2
    assert "There is no TransferJob quack. The newest are: " in unknown.err
