"""The JOB argument of the commands that look at one job: `name`, or `namespace/name`."""

from __future__ import annotations

from adit.cli.console import fail
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobRecord
from adit.model.resource import ObjectMeta


def name_of(metadata: ObjectMeta) -> str:
    """As a command takes it."""
    return metadata.name if metadata.namespace == "default" else f"{metadata.namespace}/{metadata.name}"


def find_job(ledger: Ledger, text: str) -> JobRecord:
    """The job's record. Ends the command when there is none, naming those that there are."""
    namespace, _, name = text.rpartition("/")
    record = ledger.job((namespace or "default", name))
    if record is None:
        known = ", ".join(name_of(each.job.metadata) for each in ledger.jobs(limit=5))
        fail(f"There is no TransferJob {text}. {f'The newest are: {known}.' if known else 'There are none yet.'}")
    return record
