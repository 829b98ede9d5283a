"""`adit cancel`, `suspend` and `resume`: the stored job applied again with one field set.

Not in a cluster, where the resource says what is wanted and the ledger follows it.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from adit.cli.arguments import Job
from adit.cli.console import fail, out, say


def cancel(
    context: typer.Context,
    job: Job,
    drain: Annotated[bool, typer.Option("--drain", help="Let running tasks finish.")] = False,
) -> None:
    """Cancel a job for good.

    What waits is cancelled; what runs is stopped, or finishes with --drain.
    The same as `cancel: Terminate` (or `Drain`) in its YAML. Instances that
    were sent already stay where they are.
    """
    _reapply(context, job, {"cancel": "Drain" if drain else "Terminate"})


def suspend(context: typer.Context, job: Job) -> None:
    """Start no more tasks of a job; running ones finish.

    The same as `suspend: true` in its YAML.
    """
    _reapply(context, job, {"suspend": True})


def resume(context: typer.Context, job: Job) -> None:
    """Let a suspended job go on.

    The same as taking `suspend` out of its YAML.
    """
    _reapply(context, job, {"suspend": None})


def _reapply(context: typer.Context, name: str, fields: dict[str, Any]) -> None:
    from adit.cli.dispatching import utc_now
    from adit.cli.job_name import find_job
    from adit.cli.manifest_input import Line
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of
    from adit.ledger.resources import ResourceConflict
    from adit.model.pod import in_pod
    from adit.model.transfer_job import TransferJob

    with open_session(settings_of(context)) as session:
        record = find_job(session.ledger, name)
        job = record.job
        if in_pod(os.environ):
            patch = json.dumps({"spec": fields})
            fail(
                "In a cluster the resource says what is wanted. Say it there: "
                f"kubectl -n {job.metadata.namespace} patch transferjob {job.metadata.name} --type=merge -p '{patch}'"
            )
        document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
        document["spec"] |= fields
        changed = TransferJob.model_validate(document)
        if record.ended_at is not None and changed != job:
            fail(f"transferjob.adit.dev/{job.metadata.name} has finished: nothing is left to stop.")
        try:
            applied = session.ledger.apply_job(changed, utc_now())
        except ResourceConflict as conflict:
            fail(f"transferjob.adit.dev/{job.metadata.name}: {conflict}")
        out.print(str(Line(changed, applied)), markup=False)
        if record.ended_at is None:
            say.print("`adit up` does it: nothing happens while none runs.", style="dim")
